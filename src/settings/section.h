/* section.h - one section of the configuration file, SECTIONS_TEXT, while it is being read.
 *
 * Its lines may come in any order, so a section is checked when it ends. */
#ifndef SETTINGS_SECTION_H
#define SETTINGS_SECTION_H

#include "settings/section_backend.h"
#include "settings/section_hook.h"
#include "settings/section_jwt.h"
#include "settings/section_tls.h"
#include "settings/section_webhook.h"

#define SECTIONS_TEXT(and) \
    "[key NAME], [jwt NAME], [connect_hook], [tickets], [backend NAME], [uplink NAME], [webhook NAME], [events], [tls NAME] " and \
    " [namespace NAME]"

enum section_kind {
    SECTION_NONE,     /* before the first heading */
    SECTION_KEY,
    SECTION_JWT,
    SECTION_TICKETS,
    SECTION_HOOK,
    SECTION_BACKEND,
    SECTION_UPLINK,
    SECTION_WEBHOOK,
    SECTION_EVENTS,
    SECTION_TLS,
    SECTION_NAMESPACE,
    SECTION_BROKEN,   /* its heading was refused; its lines are skipped, because one fault is enough */
};

struct key_draft {
    char secret[KEY_SECRET_BYTES_MAX + 1];
    char secret_file[SECRET_FILE_BYTES_MAX + 1];
    char rights[64];
    char channels[KEY_CHANNELS_BYTES_MAX + 1];
};

struct namespace_draft {
    enum durability durability;
    int64_t         keep_age, ttl_default;  /* seconds */
    uint64_t        keep_count, keep_bytes, payload_bytes_max;
    enum allowed    subscribe, publish;
    bool            presence;
    char            forward[FORWARD_BYTES_MAX + 1];
    uint64_t        forward_batch, forward_tries;
};

struct section {
    enum section_kind      kind;
    struct settings       *settings;
    unsigned               seen;                       /* a bit for each of its lines that was there */
    bool                   is_opened[NAMESPACES_MAX];  /* namespaces that have had their section */
    char                   key_name[KEY_NAME_BYTES_MAX + 1];  /* or another section's name */
    struct namespace      *space;
    struct key_draft       key_draft;
    struct jwt_draft       jwt_draft;
    struct hook_draft      hook_draft;
    struct backend_draft   backend_draft;
    struct uplink_draft    uplink_draft;
    struct webhook_draft   webhook_draft;
    struct events_draft    events_draft;
    struct tls_draft       tls_draft;
    struct namespace_draft namespace_draft;
};

void section_init(struct section *section, struct settings *settings);
void section_fini(struct section *section);  /* wipes the secret */

/* Opens the section of this heading ("key app"); the one before is closed. False: `why` says what is wrong. */
bool section_open(struct section *section, struct span heading, struct buf *why);

/* One line in a section. False: `why` says what is wrong, and never holds a secret. */
bool section_set(struct section *section, struct span name, struct span value, struct buf *why);

/* Takes what was read into the settings. False: `why` says what is missing or contradictory. */
bool section_close(struct section *section, struct buf *why);

/* All kinds of sections for docs/configuration.md, and those that are in force. */
void section_print_docs(struct buf *out);
void section_print_in_force(const struct settings *settings, struct buf *out);

/* Do both have the same policy? Their names don't matter. */
bool namespace_is_like(const struct namespace *one, const struct namespace *other);

/* "publish, subscribe" */
void rights_put(unsigned rights, struct buf *out);

#endif
