/* section_hook.h - the section [connect_hook]: where the application is asked who connects. Private to this module. */
#ifndef SETTINGS_SECTION_HOOK_H
#define SETTINGS_SECTION_HOOK_H

#include "settings/settings.h"
#include "settings/value.h"

/* Its lines, while it is being read. */
struct hook_draft {
    char    url[HOOK_URL_BYTES_MAX + 1];
    char    headers[HOOK_HEADERS_BYTES_MAX + 1];
    int64_t timeout_s;
};

enum { HOOK_ROW_COUNT = 3 };
extern const struct value_row hook_rows[HOOK_ROW_COUNT];

/* `seen`: a bit for each line that was there. False: `why` says what is wrong. */
bool hook_section_close(struct settings *settings, const struct hook_draft *draft, unsigned seen, struct buf *why);

void hook_section_print(const struct settings *settings, struct buf *out);
bool hook_is_like(const struct hook_section *one, const struct hook_section *other);

#endif
