#include "main/forwarder_settings.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/must.h"

enum { WEBHOOK_RETRY_MS_LAST = 300000 };

static struct forwarder_options options_of_namespace(const struct namespace *space)
{
    struct forwarder_options options = {
        .space = space, .body = FORWARDER_LINES, .batch_max = space->forward_batch, .tries = space->forward_tries,
        .retry_ms_max = FORWARDER_RETRY_MS_MAX,
    };

    snprintf(options.name, sizeof options.name, "forward:%s", space->name);
    snprintf(options.prefix, sizeof options.prefix, "%s:", space->name);
    snprintf(options.backend, sizeof options.backend, "%.*s", SPAN_ARG(namespace_forward_backend(space)));
    snprintf(options.target, sizeof options.target, "%.*s", SPAN_ARG(namespace_forward_path(space)));
    return options;
}

static struct forwarder_options options_of_webhook(const struct webhook_section *section, const struct namespaces *spaces)
{
    struct forwarder_options options = {
        .space = &spaces->events, .body = FORWARDER_EVENTS, .batch_max = (uint32_t)section->batch, .tries = 1,
        .retry_ms_max = WEBHOOK_RETRY_MS_LAST, .give_up_ms = section->retry_for_s * 1000, .kinds = section->events,
    };
    snprintf(options.name, sizeof options.name, "webhook:%s", section->name);
    snprintf(options.prefix, sizeof options.prefix, "sys:events/");
    snprintf(options.backend, sizeof options.backend, "webhook:%s", section->name);
    snprintf(options.secret, sizeof options.secret, "%s", section->secret);
    return options;
}

/* Channel names point into the namespaces of the start, so `forward` is as it was then. */
bool forwarders_take_settings(struct forwarders *set, const struct namespaces *spaces, const struct settings *settings)
{
    struct forwarder_options *options = calloc(NAMESPACES_MAX + WEBHOOKS_MAX, sizeof *options);
    size_t                    count   = 0;

    must(options != NULL);
    for (size_t i = 0; i < spaces->count; i++)
        if (namespace_forwards(&spaces->at[i]))
            options[count++] = options_of_namespace(&spaces->at[i]);
    for (size_t i = 0; i < settings->webhook_count; i++)
        options[count++] = options_of_webhook(&settings->webhooks[i], spaces);
    bool is_whole = forwarders_configure(set, options, count);
    explicit_bzero(options, count * sizeof *options);
    free(options);
    return is_whole;
}
