#include "main/reload.h"

#include <stdlib.h>

#include "auth/issuer.h"
#include "base/must.h"
#include "main/server.h"
#include "reactor/log.h"
#include "settings/config.h"

enum { NAMES_BYTES_MAX = 64 * 1024, WHY_BYTES_MAX = 2048 };

static struct settings *settings_copy(const struct settings *settings)
{
    struct settings *copy = malloc(sizeof *copy);

    must(copy != NULL);
    *copy = *settings;
    return copy;
}

static void settings_drop(struct settings *settings)
{
    if (settings == NULL)
        return;
    settings_fini(settings);
    free(settings);
}

static bool is_warning(struct span line)
{
    static const char mark[] = ": warning: ";
    return memmem(line.at, line.len, mark, sizeof mark - 1) != NULL;
}

/* Logs the first fault, with file and line, and the count of faults. `longwired --check` shows all of them. */
static void log_failure(struct span said)
{
    struct span first = SPAN(""), line;
    uint64_t    count = 0;

    while (span_cut(&said, '\n', &line))
        if (!is_warning(line) && count++ == 0)
            first = line;
    LOG(LOG_ERROR, "reload_failed", log_span("why", first), log_u64("faults", count),
        log_str("notice", "the configuration in force stays"));
}

static void log_notices(struct span notices)
{
    struct span line;

    while (span_cut(&notices, '\n', &line))
        LOG(LOG_WARN, "settings", log_span("notice", line));
}

/* The files may have changed though no setting has. */
static bool read_tls(struct reload *reload, const struct server *server, const struct settings *next, struct buf *why)
{
    struct tls_sections *before = server->snapshot->tls;

    if (!server_read_tls(server, next, &reload->tls, why))
        return false;
    if (before != NULL && reload->tls != NULL && !tls_sections_are_like(before, reload->tls))
        buf_putf(&reload->changed, "%scertificates", reload->changed.len == 0 ? "" : ", ");
    return true;
}

void reload_init(struct reload *reload, char *const *argv, char *const *env, const struct server *server)
{
    struct settings *fresh = malloc(sizeof *fresh), *next = settings_copy(server_settings(server));
    struct buf       say, why;

    must(fresh != NULL);
    buf_init(&say, CONFIG_SAY_BYTES_MAX);
    buf_init(&why, WHY_BYTES_MAX);
    buf_init(&reload->changed, NAMES_BYTES_MAX);
    buf_init(&reload->kept, NAMES_BYTES_MAX);
    reload->settings = NULL;
    reload->tls      = NULL;
    if (!config_load_again(argv, env, fresh, &say)) {
        log_failure(buf_span(&say));
    } else if (!settings_reload(next, fresh, &reload->changed, &reload->kept, &why) || !issuers_check(next, &why) ||
               !read_tls(reload, server, next, &why)) {
        log_failure(buf_span(&why));
    } else {
        log_notices(buf_span(&say));
        reload->settings = next;
        next             = NULL;
    }
    settings_drop(next);
    settings_drop(fresh);
    buf_fini(&say);
    buf_fini(&why);
}

void reload_fini(struct reload *reload)
{
    settings_drop(reload->settings);
    tls_sections_unref(reload->tls);
    buf_fini(&reload->changed);
    buf_fini(&reload->kept);
}

void reload_tell(const struct reload *reload)
{
    LOG(LOG_INFO, "reloaded",
        log_span("changed", reload->changed.len == 0 ? SPAN("nothing") : buf_span(&reload->changed)));
    if (reload->kept.len > 0)
        LOG(LOG_WARN, "restart_needed", log_span("settings", buf_span(&reload->kept)),
            log_str("notice", "these differ in the configuration, but only a restart changes them"));
}
