#include "main/limits.h"

#include <limits.h>

#include "main/callers.h"
#include "main/stores.h"

/* The store reads at most READ_ENTRIES_MAX entries at a time: a setting must not promise more. */
#define COUNT(name, def, least, most, takes, help) enum { name##_at_most = (most) };
#include "settings/settings.def"
_Static_assert((int)history_limit_max_at_most == (int)READ_ENTRIES_MAX, "a page of history is one read");

/* Bounds that no setting changes; docs/limits.md says what happens at each. */
enum {
    KIB = 1024,
    MIB = 1024 * KIB,

    IDENTIFY_COUNT_MAX       = 4096,      /* requests and links of a loop whose sender is being identified */
    IDENTIFY_MS_MAX          = 5000,
    CLIENT_CLOSE_MS_MAX      = 2000,      /* for an HTTP client to close after its last answer */
    WS_CLOSE_MS_MAX          = 5000,      /* for a WebSocket client to answer our Close */
    POLL_STORE_MS_MAX        = 5000,      /* for the store to say what there is, of a poll that does not wait */
    ECHO_MESSAGE_BYTES_MAX   = 32 * MIB,
    HISTORY_PAGE_BYTES_MAX   = 4 * MIB,
    BUSY_PAGE_BYTES_MAX      = 256 * KIB,  /* while other answers wait for clients */
    CLIENT_STUCK_MS_MAX      = 2000,      /* without taking a byte of its answer, while too many answers wait */
    WINDOW_MESSAGES_MAX      = 256,       /* live messages that a loop holds of one channel */
    WINDOW_BYTES_MAX         = 1 * MIB,
    CHANNEL_QUIET_MS         = 5000,      /* without news, before a channel with one reader costs less memory … */
    FOLD_TICKS               = 50,        /* … beside the writer, too: once in so many ticks, of 100 ms each */
    BRIEF_CONNECTIONS_LEAST  = 16,        /* above connections_max, for one short answer each */
    BRIEF_CONNECTIONS_PART   = 16,        /* of connections_max, if that is more */
    OWN_DESCRIPTORS          = 1280,      /* of the log's files, listeners, event loops */
    OWN_DESCRIPTORS_PART     = 4,         /* … or so large a part of that limit, if it is less */
    READER_PAGE_COUNT_MAX    = 256,       /* entries of the log that are read for one subscription at a time */
    READER_PAGE_BYTES_MAX    = 64 * KIB,
    LOOP_PAGES_MAX           = 64,        /* such pages under way, a loop */
    LOOP_STORE_PAGES_MAX     = 8,         /* of them, such as come from the disk */
    GROUP_COUNT_MAX          = 4096,      /* appends that are synced together */
    GROUP_BYTES_MAX          = 8 * MIB,
    GROUP_MS_MAX             = 10000,     /* how long such a group, or the wait for one, may take */
    DELIVERIES_COUNT_MAX     = 65536,     /* messages that one loop has not taken from the writer yet */
    DELIVERIES_BYTES_MAX     = 64 * MIB,
    OPENINGS_MAX             = 256,       /* sessions that are being opened at a time … */
    OPENINGS_WAITING_MAX     = 65536,     /* … and that wait for these */
    IDLE_SESSIONS_MAX        = 65536,     /* sessions in memory that have no link */
    SHORT_MEMORY_BODIES_MAX  = 256 * KIB,  /* while memory is short (memory_watch.h), on each loop: of bodies that are not whole */
    SHORT_MEMORY_ANSWERS_MAX = 256 * KIB,  /* … of answers that wait for clients */
    SHORT_MEMORY_PAGES_MAX   = 8,          /* … pages of the log under way for subscriptions */
};

/* Calls to the hook and for key sets have timeouts of their own, which come first. */
struct identifier_limits identifier_limits_of(const struct settings *settings)
{
    return (struct identifier_limits){
        .count_max  = IDENTIFY_COUNT_MAX,
        .timeout_ms = IDENTIFY_MS_MAX + KEY_SET_TIMEOUT_MS + settings->hook.timeout_s * 1000,
    };
}

struct http_limits http_limits_of(const struct settings *settings)
{
    return (struct http_limits){
        .h1                   = { (uint32_t)settings->request_target_bytes_max,
                                  (uint32_t)settings->request_head_bytes_max },
        .streams_max          = (uint32_t)settings->http2_streams_max,
        .pipeline_max         = (uint32_t)settings->pipeline_max,
        .answer_bytes_max     = settings->outbox_bytes_max,
        .head_timeout_ms      = settings->head_timeout_s * 1000,
        .request_timeout_ms   = settings->request_timeout_s * 1000,
        .body_bytes_per_s_min = settings->body_bytes_per_s_min,
        .keepalive_timeout_ms = settings->keepalive_timeout_s * 1000,
        .linger_ms            = CLIENT_CLOSE_MS_MAX,
        .body_bytes_max       = settings->publish_waiting_bytes_max,
        .owed_bytes_max       = settings->publish_waiting_bytes_max,
        .ease_bytes_max       = settings->answers_bytes_max,
        .stuck_ms             = CLIENT_STUCK_MS_MAX,
        .taken_bytes_min      = settings->answer_progress_bytes,
    };
}

static size_t largest_payload(const struct settings *settings)
{
    size_t payload = 0;

    for (size_t i = 0; i < settings->namespaces.count; i++)
        if (settings->namespaces.at[i].payload_bytes_max > payload)
            payload = settings->namespaces.at[i].payload_bytes_max;
    return payload;
}

/* A message of this payload in JSON: each byte escaped, as in \u0000, and what stands around it. */
static size_t json_bytes_of(size_t payload)
{
    return 6 * payload + 64 * KIB;
}

static size_t frame_bytes_of(const struct settings *settings)
{
    return settings->frame_bytes_max != 0 ? settings->frame_bytes_max : json_bytes_of(largest_payload(settings));
}

static void limits_put_misfit(struct buf *out, const char *name, size_t value, size_t payload)
{
    if (value < json_bytes_of(payload))
        buf_putf(out, "%s is %zu: a payload of payload_bytes_max %zu does not fit into it if its JSON escapes each "
                      "byte; that takes %zu\n", name, value, payload, json_bytes_of(payload));
}

void limits_put_misfits(const struct settings *settings, struct buf *out)
{
    size_t payload = largest_payload(settings);

    limits_put_misfit(out, "frame_bytes_max", frame_bytes_of(settings), payload);
    limits_put_misfit(out, "batch_bytes_max", settings->batch_bytes_max, payload);
    limits_put_misfit(out, "publish_waiting_bytes_max", settings->publish_waiting_bytes_max, payload);
}

struct backoff backoff_of(const struct settings *settings)
{
    return (struct backoff){
        .base_ms        = settings->reconnect_ms,
        .cap_ms         = settings->reconnect_ms_max > settings->reconnect_ms ? settings->reconnect_ms_max
                                                                              : settings->reconnect_ms,
        .factor_percent = (uint32_t)settings->reconnect_factor_percent,
        .jitter_percent = (uint32_t)settings->reconnect_jitter_percent,
    };
}

struct session_limits session_limits_of(const struct settings *settings, unsigned loops)
{
    return (struct session_limits){
        .heartbeat              = { .asked_ms        = settings->heartbeat_s * 1000,
                                    .pong_timeout_ms = settings->pong_timeout_s * 1000,
                                    .least_ms        = settings->heartbeat_s_min * 1000,
                                    .most_ms         = settings->heartbeat_s_max * 1000,
                                    .offered_ms      = settings->heartbeat_s_offered * 1000 },
        .slow_reader_timeout_ms = settings->slow_reader_timeout_s * 1000,
        .poll_wait_ms           = settings->poll_wait_s * 1000,
        .poll_wait_ms_max       = settings->poll_wait_s_max * 1000,
        .sse_retry_ms           = settings->sse_retry_ms,
        .reconnect              = backoff_of(settings),
        .admission              = { .per_s = (double)settings->admissions_per_s / loops,
                                    .burst = (uint32_t)(settings->admissions_burst / loops) },
        .poll_store_timeout_ms  = POLL_STORE_MS_MAX,
        .member_check_ms        = settings->session_compare_s * 1000,
        .may_miss_leaves        = settings->cluster_kind != CLUSTER_NONE,
        .connect_timeout_ms     = settings->head_timeout_s * 1000,
        .close_timeout_ms       = WS_CLOSE_MS_MAX,
        .channels_max           = (uint32_t)settings->channels_per_connection_max,
        .frame_bytes_max        = (uint32_t)frame_bytes_of(settings),
        .gathered_bytes_max     = settings->publish_waiting_bytes_max,
        .gather_timeout_ms      = settings->frame_timeout_s * 1000,
        .durable_logs           = (uint32_t)stores_shard_count(settings),
        .waiting_publishes_max  = (uint32_t)settings->publishes_per_connection_max,
        .echo_bytes_max         = ECHO_MESSAGE_BYTES_MAX,
        .echo_silence_ms        = settings->slow_reader_timeout_s * 1000,
        .connection_key_header  = settings->connection_key_header,
        .has_echo               = settings->diagnostic_echo,
        .has_compression        = settings->websocket_compression == WEBSOCKET_COMPRESSION_ON,
        .presence_lease_ms      = settings->presence_lease_s * 1000,
        .ticket_ttl_ms          = settings->ticket_ttl_s * 1000,
    };
}

struct api_limits api_limits_of(const struct settings *settings)
{
    return (struct api_limits){
        .payload_bytes_max  = largest_payload(settings),
        .batch_bytes_max    = settings->batch_bytes_max,
        .batch_messages_max = (uint32_t)settings->batch_messages_max,
        .history_limit_max  = (uint32_t)settings->history_limit_max,
        .history_bytes_max  = HISTORY_PAGE_BYTES_MAX,
        .history_busy_bytes_max = BUSY_PAGE_BYTES_MAX,
        .revocations_max    = settings->revocations_max,
        .token_life_s       = settings->token_life_s_max,
    };
}

struct shard_limits shard_limits_of(const struct settings *settings)
{
    return (struct shard_limits){
        .hub = { .window_messages_max = WINDOW_MESSAGES_MAX,
                 .window_bytes_max    = WINDOW_BYTES_MAX,
                 .linger_ms           = settings->linger_s * 1000,
                 .quiet_ms            = CHANNEL_QUIET_MS },
        .page_count_max       = READER_PAGE_COUNT_MAX,
        .page_bytes_max       = READER_PAGE_BYTES_MAX,
        .pages_away_max       = LOOP_PAGES_MAX,
        .pages_store_away_max = LOOP_STORE_PAGES_MAX,
        .publish_count_max    = (uint32_t)settings->publish_waiting_max,
        .publish_bytes_max    = settings->publish_waiting_bytes_max,
    };
}

struct writer_limits writer_limits_of(const struct settings *settings)
{
    return (struct writer_limits){
        .waiting_count_max  = (uint32_t)settings->publish_waiting_max,
        .waiting_bytes_max  = settings->publish_waiting_bytes_max,
        .all_per_s          = (uint32_t)settings->all_publishes_per_s,
        .batch_count_max    = GROUP_COUNT_MAX,
        .batch_bytes_max    = GROUP_BYTES_MAX,
        .deadline_ticks     = GROUP_MS_MAX / WRITER_TICK_MS,
        .delivery_count_max = DELIVERIES_COUNT_MAX,
        .delivery_bytes_max = DELIVERIES_BYTES_MAX,
        .tail_bytes_max     = settings->tail_bytes_max,
        .tail_messages_max  = (uint32_t)settings->tail_messages_max,
        .fold_ticks         = FOLD_TICKS,
    };
}

struct devices_limits devices_limits_of(const struct settings *settings)
{
    return (struct devices_limits){
        .session_ttl_ms = settings->session_ttl_s * 1000,
        .poll_lease_ms  = settings->poll_lease_s * 1000,
        .devices_max    = (uint32_t)settings->devices_per_user_max,
        .opens_max      = OPENINGS_MAX,
        .waiting_max    = OPENINGS_WAITING_MAX,
        .idle_max       = IDLE_SESSIONS_MAX,
        .compare_ms     = settings->session_compare_s * 1000,
        .policy         = (enum device_policy)settings->devices,
        .sweeps_members = stores_shard_count(settings) > 1,
    };
}

struct presence_limits presence_limits_of(const struct settings *settings)
{
    return (struct presence_limits){
        .members_max   = (uint32_t)settings->presence_members_max,
        .frames_per_s  = (uint32_t)settings->presence_frames_per_s,
        .return_ms     = settings->presence_return_s * 1000,
        .poll_lease_ms = settings->poll_lease_s * 1000,
    };
}

struct cluster_limits cluster_limits_of(const struct settings *settings)
{
    return (struct cluster_limits){
        .lease_ms          = settings->cluster_lease_s * 1000,
        .compare_ms        = settings->cluster_compare_s * 1000,
        .head_poll_ms      = settings->cluster_poll_ms,
        .compare_per_s     = settings->cluster_compare_per_s,
        .linger_ms         = settings->route_linger_s * 1000,
        .waiting_max       = (uint32_t)settings->bus_waiting_max,
        .waiting_bytes_max = settings->bus_waiting_bytes_max,
        .questions_max     = (uint32_t)settings->peer_questions_max,
    };
}

static void lower_bound_to(size_t *bound, size_t most)
{
    if (*bound > most)
        *bound = most;
}

void limits_shorten(struct http_limits *http, struct session_limits *session, struct shard_limits *shard)
{
    lower_bound_to(&http->body_bytes_max, SHORT_MEMORY_BODIES_MAX);
    lower_bound_to(&http->ease_bytes_max, SHORT_MEMORY_ANSWERS_MAX);
    lower_bound_to(&http->owed_bytes_max, SHORT_MEMORY_ANSWERS_MAX);
    lower_bound_to(&session->gathered_bytes_max, SHORT_MEMORY_BODIES_MAX);
    if (shard->pages_away_max > SHORT_MEMORY_PAGES_MAX)
        shard->pages_away_max = SHORT_MEMORY_PAGES_MAX;
}

uint64_t memory_allowed(const struct settings *settings, uint64_t cgroup)
{
    return settings->memory_bytes_max != 0 ? settings->memory_bytes_max : cgroup / 100 * settings->memory_cgroup_percent;
}

void limits_set_usage(const struct settings *settings, uint64_t max[static USAGE_LIMIT_COUNT])
{
    max[USAGE_CONNECTIONS_OF_ADDRESS]  = settings->connections_per_address_max;
    max[USAGE_CONNECTS_OF_ADDRESS]     = settings->connects_per_address_per_s;
    max[USAGE_CONNECTIONS_OF_USER]     = settings->connections_per_user_max;
    max[USAGE_SUBSCRIBES_OF_CONNECTION] = settings->subscribes_per_connection_per_s;
    max[USAGE_PUBLISHES_OF_CONNECTION] = settings->publishes_per_connection_per_s;
    max[USAGE_PUBLISHES_OF_USER]       = settings->publishes_per_user_per_s;
    max[USAGE_PUBLISHES_OF_KEY]        = settings->publishes_per_key_per_s;
    max[USAGE_WRONG_SECRETS_OF_ADDRESS] = settings->wrong_secrets_per_address_per_min;
}

uint64_t connections_allowed(uint64_t connections_max, uint64_t descriptors)
{
    uint64_t wanted = connections_max > 0 ? connections_max : UINT64_MAX;

    /* With few descriptors the server's own files need fewer, too; then accepting rests when they are used up. */
    if (descriptors < 4 * OWN_DESCRIPTORS)
        return wanted;
    uint64_t room = (descriptors - OWN_DESCRIPTORS) / (BRIEF_CONNECTIONS_PART + 1) * BRIEF_CONNECTIONS_PART;
    return wanted < room ? wanted : room;
}

/* With few descriptors a quarter of them; with many, as many as connections_allowed() leaves. */
int descriptors_for_clients(uint64_t descriptors)
{
    const uint64_t own  = descriptors / OWN_DESCRIPTORS_PART < OWN_DESCRIPTORS ? descriptors / OWN_DESCRIPTORS_PART : OWN_DESCRIPTORS;
    const uint64_t room = descriptors - own;

    return room < INT_MAX ? (int)room : INT_MAX;
}

uint64_t connections_capacity(uint64_t connections_max, uint64_t descriptors)
{
    const uint64_t allowed = connections_allowed(connections_max, descriptors);
    const uint64_t room    = (uint64_t)descriptors_for_clients(descriptors);

    return allowed < room ? allowed : room;
}

uint64_t connections_brief(uint64_t allowed)
{
    uint64_t part = allowed / BRIEF_CONNECTIONS_PART;
    return part > BRIEF_CONNECTIONS_LEAST ? part : BRIEF_CONNECTIONS_LEAST;
}
