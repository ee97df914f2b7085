#include "config/schema.h"

#include "config/config.h"

/* FIELD: the member that receives the value. AND: the second member, see enum schema_type. KEYS: a
 * table for the fields of struct s. A mapping may fill members of the struct around it (`ring`
 * fills config_pool): its entry then has no FIELD of its own, and its offsets are those of the
 * outer struct. */
#define FIELD(s, m) .offset = offsetof(struct s, m), .size = sizeof(((struct s *)0)->m)
#define AND(s, m) .second = offsetof(struct s, m)
#define KEYS(array, s)                                             \
    {                                                              \
        (array), sizeof(array) / sizeof *(array), sizeof(struct s) \
    }
/* The range of nearly every duration: 1ms to 24h. */
#define TIME .min = 1, .max = SCHEMA_DAY_MS

static const struct schema_word log_levels[] = {
    {"debug", LOG_DEBUG}, {"info", LOG_INFO}, {"warn", LOG_WARN}, {"error", LOG_ERROR}, {NULL}};
static const struct schema_word access_logs[] = {{"off"}, {NULL, 0, true}};
static const struct schema_word listener_modes[] = {{"http", MODE_HTTP}, {"tcp", MODE_TCP}, {NULL}};
static const struct schema_word switches[] = {{"on", true}, {"off", false}, {NULL}};
static const struct schema_word accept_heads[] = {{"off", false}, {"accept", true}, {NULL}};
static const struct schema_word send_heads[] = {
    {"off", SEND_HEAD_OFF}, {"v1", SEND_HEAD_V1}, {"v2", SEND_HEAD_V2}, {NULL}};
static const struct schema_word hashes[] = {{"xxh3"}, {NULL}};
static const struct schema_word checks[] = {
    {"http", CHECK_HTTP}, {"tcp", CHECK_TCP}, {"off", CHECK_OFF}, {NULL}};
static const struct schema_word check_methods[] = {{"GET", false}, {"HEAD", true}, {NULL}};
static const struct schema_word when_down[] = {
    {"next", WHEN_DOWN_NEXT}, {"fail", WHEN_DOWN_FAIL}, {NULL}};
static const struct schema_word when_all_down[] = {
    {"refuse", WHEN_ALL_DOWN_REFUSE}, {"try", WHEN_ALL_DOWN_TRY}, {NULL}};
static const struct schema_word failback_modes[] = {{"auto", false}, {"manual", true}, {NULL}};
static const struct schema_word close_moved[] = {{"never", CLOSE_MOVED_NEVER},
                                                 {"down", CLOSE_MOVED_DOWN},
                                                 {"always", CLOSE_MOVED_ALWAYS},
                                                 {NULL}};

static const struct schema_word agrees[] = {
    {"majority", AGREE_MAJORITY}, {"all", AGREE_ALL}, {NULL}};

/* The values of `token_file`, `for`, `pool` and `expect` take more than a table: see rules.c. */
static const struct schema_key admin_keys[] = {
    {"listen", SCHEMA_ADDRESS, .required = true, FIELD(config, admin_listen),
     AND(config, admin_listen_text)},
    {"token_file", SCHEMA_TEXT, .max = 4095},
    {"write", SCHEMA_WORD, .fallback = "off", FIELD(config, admin_write), .words = switches},
};
static const struct schema admin = KEYS(admin_keys, config);

static const struct schema_key log_keys[] = {
    {"level", SCHEMA_WORD, .fallback = "info", FIELD(config, log_level), .words = log_levels},
    {"access", SCHEMA_WORD, .fallback = "off", .words = access_logs},
};
static const struct schema log_schema = KEYS(log_keys, config);

static const struct schema_key reload_keys[] = {
    {"max_move", SCHEMA_SHARE, .fallback = "off", FIELD(config, max_move)},
};
static const struct schema reload_schema = KEYS(reload_keys, config);

static const struct schema_key listener_timeout_keys[] = {
    {"request", SCHEMA_DURATION, .fallback = "10s", TIME,
     FIELD(config_listener, request_timeout_ms)},
    {"idle", SCHEMA_DURATION, .fallback = "60s", TIME, FIELD(config_listener, idle_timeout_ms)},
    {"tunnel", SCHEMA_DURATION, .fallback = "1h", TIME, FIELD(config_listener, tunnel_timeout_ms)},
};
static const struct schema listener_timeouts = KEYS(listener_timeout_keys, config_listener);

/* The conditions, and `pool`, are read by route_rules.c. */
static const struct schema_key route_keys[] = {
    {"host", SCHEMA_RULE},
    {"path", SCHEMA_RULE},
    {"methods", SCHEMA_RULE},
    {"sni", SCHEMA_RULE},
    {"pool", SCHEMA_NAME, .required = true},
    {"key", SCHEMA_KEYS, FIELD(config_route, keys), AND(config_route, nkeys)},
};
static const struct schema route = KEYS(route_keys, config_route);

static const struct schema_word same_sites[] = {
    {"lax", SAME_SITE_LAX}, {"strict", SAME_SITE_STRICT}, {"none", SAME_SITE_NONE}, {NULL}};

/* 400 days is what browsers keep a cookie for at most. */
static const struct schema_key issued_cookie_keys[] = {
    {"max_age", SCHEMA_DURATION, .min = 1000, .max = 400ull * SCHEMA_DAY_MS,
     FIELD(config_issued_cookie, max_age_ms)},
    {"domain", SCHEMA_TEXT, .max = 253, FIELD(config_issued_cookie, domain)},
    {"path", SCHEMA_TEXT, .fallback = "/", .max = 1024, FIELD(config_issued_cookie, path)},
    {"same_site", SCHEMA_WORD, .fallback = "lax", FIELD(config_issued_cookie, same_site),
     .words = same_sites},
};
static const struct schema issued_cookie = KEYS(issued_cookie_keys, config_issued_cookie);

static const struct schema_key listener_keys[] = {
    {"name", SCHEMA_NAME, .required = true, FIELD(config_listener, name)},
    {"listen", SCHEMA_ADDRESS, .required = true, .max = SCHEMA_TAKES_UNIX,
     FIELD(config_listener, listen), AND(config_listener, listen_text)},
    {"mode", SCHEMA_WORD, .fallback = "http", FIELD(config_listener, mode),
     .words = listener_modes},
    {"pool", SCHEMA_NAME},
    {"routes", SCHEMA_LIST, FIELD(config_listener, routes), AND(config_listener, nroutes),
     .inner = &route},
    {"key", SCHEMA_KEYS, FIELD(config_listener, keys), AND(config_listener, nkeys)},
    {"issued_cookie", SCHEMA_MAP, FIELD(config_listener, issued_cookie), .inner = &issued_cookie},
    {"max_connections", SCHEMA_NUMBER, .fallback = "10000", .min = 1, .max = 1000000,
     FIELD(config_listener, max_connections)},
    {"max_header_size", SCHEMA_SIZE, .fallback = "16KiB", .min = 1024, .max = 1048576,
     FIELD(config_listener, max_header_size)},
    {"proxy_protocol", SCHEMA_WORD, .fallback = "off", FIELD(config_listener, accept_head),
     .words = accept_heads},
    {"trusted_proxies", SCHEMA_NETWORKS, FIELD(config_listener, trusted_proxies),
     AND(config_listener, ntrusted_proxies)},
    {"via", SCHEMA_WORD, .fallback = "on", FIELD(config_listener, via), .words = switches},
    {"timeouts", SCHEMA_MAP, .inner = &listener_timeouts},
};
static const struct schema listener = KEYS(listener_keys, config_listener);

static const struct schema_key ring_keys[] = {
    {"vnodes", SCHEMA_NUMBER, .fallback = "512", .min = 1, .max = 4096, FIELD(config_pool, vnodes)},
    {"hash", SCHEMA_WORD, .fallback = "xxh3", .words = hashes},
    {"max_load", SCHEMA_FACTOR, .fallback = "off", .min = 101, .max = 10000,
     FIELD(config_pool, max_load)},
};
static const struct schema ring = KEYS(ring_keys, config_pool);

/* `path` and `expect` have a default only with `check: http`: see rules.c. */
static const struct schema_key health_keys[] = {
    {"check", SCHEMA_WORD, .fallback = "tcp", FIELD(config_health, check), .words = checks},
    {"port", SCHEMA_NUMBER, .min = 1, .max = 65535, FIELD(config_health, port)},
    {"method", SCHEMA_WORD, .fallback = "GET", FIELD(config_health, head), .words = check_methods},
    {"path", SCHEMA_TEXT, .max = 4096, FIELD(config_health, path)},
    {"host", SCHEMA_TEXT, .max = 255, FIELD(config_health, host)},
    {"send", SCHEMA_BYTES, .max = 4096, FIELD(config_health, send), AND(config_health, send_len)},
    {"expect", SCHEMA_RULE},
    {"interval", SCHEMA_DURATION, .fallback = "2s", TIME, FIELD(config_health, interval_ms)},
    {"timeout", SCHEMA_DURATION, .fallback = "1s", TIME, FIELD(config_health, timeout_ms)},
    {"fall", SCHEMA_NUMBER, .fallback = "3", .min = 1, .max = 100, FIELD(config_health, fall)},
    {"rise", SCHEMA_NUMBER, .fallback = "2", .min = 1, .max = 100, FIELD(config_health, rise)},
};
static const struct schema health = KEYS(health_keys, config_health);

static const struct schema_key passive_keys[] = {
    {"failures", SCHEMA_NUMBER, .fallback = "5", .min = 1, .max = 100,
     FIELD(config_passive, failures)},
    {"statuses", SCHEMA_STATUSES, FIELD(config_passive, statuses), AND(config_passive, nstatuses)},
};
static const struct schema passive = KEYS(passive_keys, config_passive);

static const struct schema_key failback_keys[] = {
    {"mode", SCHEMA_WORD, .fallback = "auto", FIELD(config_failback, manual),
     .words = failback_modes},
    {"after", SCHEMA_DURATION, .fallback = "5s", .max = SCHEMA_DAY_MS,
     FIELD(config_failback, after_ms)},
    {"max_after", SCHEMA_DURATION, .fallback = "5m", TIME, FIELD(config_failback, max_after_ms)},
    {"ramp", SCHEMA_DURATION, .fallback = "0s", .max = SCHEMA_DAY_MS,
     FIELD(config_failback, ramp_ms)},
};
static const struct schema failback = KEYS(failback_keys, config_failback);

static const struct schema_key pool_timeout_keys[] = {
    {"connect", SCHEMA_DURATION, .fallback = "1s", TIME, FIELD(config_pool, connect_timeout_ms)},
    {"response", SCHEMA_DURATION, .fallback = "30s", TIME, FIELD(config_pool, response_timeout_ms)},
    {"body", SCHEMA_DURATION, .fallback = "60s", TIME, FIELD(config_pool, body_timeout_ms)},
    {"idle", SCHEMA_DURATION, .fallback = "60s", TIME, FIELD(config_pool, idle_timeout_ms)},
};
static const struct schema pool_timeouts = KEYS(pool_timeout_keys, config_pool);

static const struct schema_key backend_keys[] = {
    {"name", SCHEMA_NAME, .required = true, FIELD(config_server, name)},
    {"address", SCHEMA_ADDRESS, .required = true, .max = SCHEMA_TAKES_UNIX | SCHEMA_TAKES_NAME,
     FIELD(config_server, address), AND(config_server, address_text)},
    {"weight", SCHEMA_NUMBER, .fallback = "1", .min = 1, .max = 256, FIELD(config_server, weight)},
    {"max_connections", SCHEMA_NUMBER, .fallback = "0", .max = 1000000,
     FIELD(config_server, max_connections)},
};
static const struct schema backend = KEYS(backend_keys, config_server);

static const struct schema_key standby_keys[] = {
    {"name", SCHEMA_NAME, .required = true, FIELD(config_server, name)},
    {"address", SCHEMA_ADDRESS, .required = true, .max = SCHEMA_TAKES_UNIX | SCHEMA_TAKES_NAME,
     FIELD(config_server, address), AND(config_server, address_text)},
    {"for", SCHEMA_RULE},
    {"max_connections", SCHEMA_NUMBER, .fallback = "0", .max = 1000000,
     FIELD(config_server, max_connections)},
};
static const struct schema standby = KEYS(standby_keys, config_server);

static const struct schema_key pool_keys[] = {
    {"name", SCHEMA_NAME, .required = true, FIELD(config_pool, name)},
    {"ring", SCHEMA_MAP, .inner = &ring},
    {"health", SCHEMA_MAP, FIELD(config_pool, health), .inner = &health},
    {"passive", SCHEMA_MAP_OR_OFF, FIELD(config_pool, passive), .inner = &passive},
    {"when_down", SCHEMA_WORD, .fallback = "next", FIELD(config_pool, when_down),
     .words = when_down},
    {"when_all_down", SCHEMA_WORD, .fallback = "refuse", FIELD(config_pool, when_all_down),
     .words = when_all_down},
    {"failback", SCHEMA_MAP, FIELD(config_pool, failback), .inner = &failback},
    {"close_moved", SCHEMA_WORD, .fallback = "down", FIELD(config_pool, close_moved),
     .words = close_moved},
    {"agree", SCHEMA_WORD, .fallback = "majority", FIELD(config_pool, agree), .words = agrees},
    {"epoch_header", SCHEMA_TEXT, .max = 64, FIELD(config_pool, epoch_header)},
    {"retries", SCHEMA_NUMBER, .fallback = "2", .max = 10, FIELD(config_pool, retries)},
    {"retry_statuses", SCHEMA_STATUSES, FIELD(config_pool, retry_statuses),
     AND(config_pool, nretry_statuses)},
    {"max_idle_connections", SCHEMA_NUMBER, .fallback = "4096", .max = 65536,
     FIELD(config_pool, max_idle_connections)},
    {"timeouts", SCHEMA_MAP, .inner = &pool_timeouts},
    {"proxy_protocol", SCHEMA_WORD, .fallback = "off", FIELD(config_pool, send_head),
     .words = send_heads},
    {"resolve", SCHEMA_DURATION, .fallback = "30s", TIME, FIELD(config_pool, resolve_ms)},
    {"backends", SCHEMA_LIST, .required = true, .min = 1, FIELD(config_pool, backends),
     AND(config_pool, nbackends), .inner = &backend},
    {"standbys", SCHEMA_LIST, FIELD(config_pool, standbys), AND(config_pool, nstandbys),
     .inner = &standby},
};
static const struct schema pool = KEYS(pool_keys, config_pool);

static const struct schema_word truths[] = {{"true", true}, {"false", false}, {NULL}};
static const struct schema_word cluster_listens[] = {{"always", false}, {"active", true}, {NULL}};

/* `redis`, the commands and the default of `node` are of cluster_rules.c, as are narrower bounds of
 * the names. */
static const struct schema_key cluster_keys[] = {
    {"redis", SCHEMA_RULE, .required = true},
    {"name", SCHEMA_NAME, .required = true, FIELD(config_cluster, name)},
    {"node", SCHEMA_NAME, FIELD(config_cluster, node)},
    {"lock_ttl", SCHEMA_DURATION, .fallback = "3s", .min = 1000, .max = 60000,
     FIELD(config_cluster, lock_ttl_ms)},
    {"listen", SCHEMA_WORD, .fallback = "always", FIELD(config_cluster, listen_active),
     .words = cluster_listens},
    {"priority", SCHEMA_NUMBER, .fallback = "100", .max = 1000, FIELD(config_cluster, priority)},
    {"preempt", SCHEMA_WORD, .fallback = "true", FIELD(config_cluster, preempt), .words = truths},
    {"on_active", SCHEMA_RULE},
    {"on_standby", SCHEMA_RULE},
};
const struct schema schema_cluster = KEYS(cluster_keys, config_cluster);

/* `workers` has no default here: it is the number of processors. */
static const struct schema_key document_keys[] = {
    {"workers", SCHEMA_NUMBER, .min = 1, .max = 256, FIELD(config, workers)},
    {"shutdown_timeout", SCHEMA_DURATION, .fallback = "30s", TIME,
     FIELD(config, shutdown_timeout_ms)},
    {"admin", SCHEMA_MAP, .inner = &admin},
    {"log", SCHEMA_MAP, .inner = &log_schema},
    {"reload", SCHEMA_MAP, .inner = &reload_schema},
    {"listeners", SCHEMA_LIST, .required = true, .min = 1, FIELD(config, listeners),
     AND(config, nlisteners), .inner = &listener},
    {"pools", SCHEMA_LIST, .required = true, .min = 1, FIELD(config, pools), AND(config, npools),
     .inner = &pool},
    {"cluster", SCHEMA_RULE, .inner = &schema_cluster},
};
const struct schema schema_document = {document_keys, sizeof document_keys / sizeof *document_keys,
                                       sizeof(struct config), .takes_own = true};
