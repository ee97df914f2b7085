"""From bursts to what is read: summary, tables, and their place in a document. Pure."""

import textwrap

from compare import figures
from compare.figures import ratio_text, significant
from compare.processes import Trouble
from compare.workloads import WORKLOADS

BEGIN, END = '<!-- compare:begin -->', '<!-- compare:end -->'
WIDTH = 118
BUSY = 0.95  # from this share of its core on a proxy is taken as the bottleneck


# --- summary ----------------------------------------------------------------------------------

def summarise(subject, workload, rounds):
    """{proxy: its medians, and the subject's ratios to it}."""
    out = {}
    for name, bursts in rounds.items():
        one = {'rounds': len(bursts), 'counted': sum(b['ok'] for b in bursts),
               'errors': sum(b['errors'] for b in bursts),
               'disturbed': sum(b['ok'] and b['disturbed'] for b in bursts), 'ratios': {}}
        for key in (*(m.key for m in workload.metrics), 'proxy_busy', 'proxy_demand', 'load_busy'):
            one[key] = figures.median(figures.values(bursts, key))
        for metric in workload.metrics:
            if name != subject and subject in rounds:
                one['ratios'][metric.key] = figures.ratios(rounds[subject], bursts, metric.key)
        out[name] = one
    return out


def complete(report):
    """Whether there is a figure for everything that was asked for."""
    return all(one['counted'] for w in report['workloads'].values()
               for one in w['summary'].values())


# --- tables -----------------------------------------------------------------------------------

def rows(head, *body):
    lines = ['| ' + ' | '.join(cells) + ' |' for cells in (head, *body)]
    lines.insert(1, '| --- |' + ' ---: |' * (len(head) - 1))
    return '\n'.join(line.replace('|  |', '| |').replace('|  |', '| |') for line in lines)


def prose(text):
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def overview(report):
    """The first figure of each workload as ratios."""
    subject, *others = report['proxies']
    body = []
    for name, w in report['workloads'].items():
        metric = WORKLOADS[name].metrics[0]
        cells = [ratio_text(w['summary'][o]['ratios'].get(metric.key)) if o in w['summary'] else '-'
                 for o in others]
        body.append([w['title'], metric.title, *cells])
    return rows(['workload', 'figure', *(f'{subject} / {o}' for o in others)], *body)


def core_cell(workload, one):
    if one['proxy_busy'] is None:
        return '-'
    starved = not workload.paced and one['proxy_demand'] < BUSY
    return f'{min(one["proxy_busy"], 1):.0%}{" *" if starved else ""}'.replace('%', ' %')


def table(name, w):
    """All figures of a workload."""
    workload, summary = WORKLOADS[name], w['summary']
    head = ['']
    for metric in workload.metrics:
        head += [metric.title, 'ratio']
    measured = workload.kind != 'idle'
    body = []
    for proxy, one in summary.items():
        cells = [proxy]
        for metric in workload.metrics:
            value = one[metric.key]
            cells.append(significant(None if value is None else value * metric.scale))
            cells.append(ratio_text(one['ratios'][metric.key]) if one['ratios'] else '')
        body.append(cells + ([core_cell(workload, one)] if measured else []))
    return rows(head + (['proxy core'] if measured else []), *body)


def machine_text(report):
    m, s = report['machine'], report['settings']
    proxy, load, backends = report['cores']
    where = f'core {load}' if load == backends else f'cores {load} and {backends}'
    return (f'{report["started"][:10]}, {m["cpu"]}, {m["cores"]} cores, Linux {m["kernel"]}, '
            f'{m["system"]}: {", ".join(report["versions"].values())}. '
            f'Rounds: {s["rounds"]} of {s["secs"]:g} s, alternating; each proxy with one worker, '
            f'pinned to core {proxy}, `ringbench` and three backends on {where}.')


def notes(report):
    """What qualifies the figures, as lines of a list."""
    out, starved, counted, disturbed, lost = [], False, 0, 0, 0
    for name, w in report['workloads'].items():
        if WORKLOADS[name].note:
            out.append(f'**{name}**: {WORKLOADS[name].note}')
        for one in w['summary'].values():
            starved |= '*' in core_cell(WORKLOADS[name], one)
            counted += one['counted']
            disturbed += one['disturbed']
            lost += one['rounds'] - one['counted']
    if starved:
        out.append('\\* The proxy was not the bottleneck, its core was idle in between: the '
                   'speed says what the core of the load can do, and CPU time is a little higher '
                   'than of a busy proxy, which takes more at once.')
    if disturbed:
        out.append(f'{disturbed} of {counted} bursts were disturbed: other work took more than '
                   f'{report["settings"]["noise"]:.0%} of a core.'.replace('%', ' %'))
    if lost:
        out.append(f'{lost} bursts had errors and do not count.')
    return out


def document(report):
    """What stands between the markers."""
    subject = report['proxies'][0]
    parts = [prose(machine_text(report)),
             prose(f'A ratio is {subject}\'s figure over the other\'s: the median of the ratios '
                   'round by round, with its 95 % bootstrap interval where there were '
                   f'{figures.ENOUGH_ROUNDS} rounds. CPU time and memory: less is better.'),
             overview(report)]
    for name, w in report['workloads'].items():
        parts += [f'**{name}**: {w["title"]}', table(name, w)]
    listed = [textwrap.fill(n, WIDTH, initial_indent='- ', subsequent_indent='  ',
                            break_on_hyphens=False) for n in notes(report)]
    if listed:
        parts.append('\n'.join(listed))
    return '\n\n'.join(parts) + '\n'


# --- the place in a document ------------------------------------------------------------------

def replace_between(text, body):
    """The text with body between the two markers, each on a line of its own; all else stays."""
    lines = text.split('\n')
    if lines.count(BEGIN) != 1 or lines.count(END) != 1 or lines.index(BEGIN) > lines.index(END):
        raise Trouble(f'the lines {BEGIN} and {END} must be there once, in this order')
    head, tail = lines[:lines.index(BEGIN) + 1], lines[lines.index(END):]
    return '\n'.join([*head, *body.rstrip('\n').split('\n'), *tail])
