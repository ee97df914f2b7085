"""Tables of HTTP cases, and what is needed to run them: see wire, recorder, table_request and
table_answer. A table says what goes in and what must come out; it holds no code that decides."""
