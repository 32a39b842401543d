#include "main/limits.h"

/* The store reads at most READ_ENTRIES_MAX entries at a time: a setting must not promise more. */
#define COUNT(name, def, least, most, takes, help) enum { name##_at_most = (most) };
#include "settings/settings.def"
_Static_assert((int)history_limit_max_at_most == (int)READ_ENTRIES_MAX, "a page of history is one read");

struct http_limits http_limits_of(const struct settings *settings)
{
    return (struct http_limits){
        .h1                   = { (uint32_t)settings->request_target_bytes_max, (uint32_t)settings->request_head_bytes_max },
        .pipeline_max         = (uint32_t)settings->pipeline_max,
        .answer_bytes_max     = settings->outbox_bytes_max,
        .request_timeout_ms   = settings->request_timeout_s * 1000,
        .keepalive_timeout_ms = settings->keepalive_timeout_s * 1000,
        .linger_ms            = 2000,
        .body_bytes_max       = settings->publish_waiting_bytes_max,
        .owed_bytes_max       = settings->publish_waiting_bytes_max,
    };
}

struct session_limits session_limits_of(const struct settings *settings)
{
    return (struct session_limits){
        .heartbeat_ms           = settings->heartbeat_s * 1000,
        .pong_timeout_ms        = settings->pong_timeout_s * 1000,
        .slow_reader_timeout_ms = settings->slow_reader_timeout_s * 1000,
        .poll_wait_ms           = settings->poll_wait_s * 1000,
        .poll_wait_ms_max       = settings->poll_wait_s_max * 1000,
        .sse_retry_ms           = settings->sse_retry_ms,
        .reconnect_ms           = settings->reconnect_ms,
        .close_timeout_ms       = 5000,
        .channels_max           = (uint32_t)settings->channels_per_connection_max,
        .frame_bytes_max        = (uint32_t)settings->frame_bytes_max,
        .gathered_bytes_max     = settings->publish_waiting_bytes_max,
        .gather_timeout_ms      = settings->frame_timeout_s * 1000,
        .waiting_publishes_max  = (uint32_t)settings->publishes_per_connection_max,
        .echo_bytes_max         = 32 * 1024 * 1024,
        .has_echo               = settings->diagnostic_echo,
    };
}

struct api_limits api_limits_of(const struct settings *settings)
{
    size_t payload = 0;

    for (size_t i = 0; i < settings->namespaces.count; i++)
        if (settings->namespaces.at[i].payload_bytes_max > payload)
            payload = settings->namespaces.at[i].payload_bytes_max;
    return (struct api_limits){
        .payload_bytes_max  = payload,
        .batch_bytes_max    = settings->batch_bytes_max,
        .batch_messages_max = (uint32_t)settings->batch_messages_max,
        .history_limit_max  = (uint32_t)settings->history_limit_max,
        .history_bytes_max  = 4 * 1024 * 1024,
    };
}

struct shard_limits shard_limits_of(const struct settings *settings)
{
    return (struct shard_limits){
        .hub = { .window_messages_max = 256, .window_bytes_max = 1024 * 1024, .linger_ms = settings->linger_s * 1000 },
        .page_count_max       = 256,
        .page_bytes_max       = 64 * 1024,
        .pages_away_max       = 64,
        .pages_store_away_max = 8,
        .publish_count_max    = (uint32_t)settings->publish_waiting_max,
        .publish_bytes_max    = settings->publish_waiting_bytes_max,
    };
}

struct writer_limits writer_limits_of(const struct settings *settings)
{
    return (struct writer_limits){
        .waiting_count_max = (uint32_t)settings->publish_waiting_max,
        .waiting_bytes_max = settings->publish_waiting_bytes_max,
        .batch_count_max   = 4096,
        .batch_bytes_max   = 8 * 1024 * 1024,
        .tail_bytes_max    = settings->tail_bytes_max,
        .tail_messages_max = (uint32_t)settings->tail_messages_max,
    };
}
