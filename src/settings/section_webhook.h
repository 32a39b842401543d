/* section_webhook.h - the sections [webhook NAME], where events are sent, and [events], which are kept. Private to this
 * module. */
#ifndef SETTINGS_SECTION_WEBHOOK_H
#define SETTINGS_SECTION_WEBHOOK_H

#include "settings/settings.h"
#include "settings/value.h"

enum { EVENTS_BYTES_MAX = 255 };

/* Their lines, while they are being read. */
struct webhook_draft {
    char     url[WEBHOOK_URL_BYTES_MAX + 1];
    char     events[EVENTS_BYTES_MAX + 1];
    char     secret[KEY_SECRET_BYTES_MAX + 1];
    char     secret_file[SECRET_FILE_BYTES_MAX + 1];
    int64_t  timeout_s, retry_for_s;
    uint64_t batch;
};

struct events_draft {
    char keep[EVENTS_BYTES_MAX + 1];
};

enum { WEBHOOK_ROW_COUNT = 7, EVENTS_ROW_COUNT = 1 };
extern const struct value_row webhook_rows[WEBHOOK_ROW_COUNT];
extern const struct value_row events_rows[EVENTS_ROW_COUNT];

/* May a section with this name begin? The draft gets the defaults. */
bool webhook_section_open(const struct settings *settings, struct span name, struct webhook_draft *ret, struct buf *why);

/* Reads the secret's file, if there is one. False: `why` says what is wrong, never the secret. */
bool webhook_section_close(struct settings *settings, struct span name, struct webhook_draft *draft, struct buf *why);
bool events_section_close(struct settings *settings, const struct events_draft *draft, struct buf *why);

/* As they would stand in the file, but for the secret. */
void webhook_section_print(const struct webhook_section *webhook, struct buf *out);
void events_section_print(const struct settings *settings, struct buf *out);

#endif
