/* section_backend.h - the sections [backend NAME], an HTTP service that clients' requests and uploads are carried to, and
 * [uplink NAME], which requests go there. Private to this module. */
#ifndef SETTINGS_SECTION_BACKEND_H
#define SETTINGS_SECTION_BACKEND_H

#include "settings/settings.h"
#include "settings/value.h"

/* Their lines, while they are being read. */
struct backend_draft {
    char                  url[BACKEND_URLS_BYTES_MAX + 1];
    enum backend_protocol protocol;
    int64_t               timeout_s, connect_timeout_s;
    uint64_t              connections_max, requests_max, retries;
};

struct uplink_draft {
    char                 methods[128];
    char                 path[UPLINK_PATH_BYTES_MAX + 1];
    char                 backend[KEY_NAME_BYTES_MAX + 1];
    enum uplink_delivery delivery;
    enum allowed         allow;
    uint64_t             body_bytes_max;
    char                 headers[UPLINK_HEADERS_BYTES_MAX + 1];
};

enum { BACKEND_ROW_COUNT = 7, UPLINK_ROW_COUNT = 7 };
extern const struct value_row backend_rows[BACKEND_ROW_COUNT];
extern const struct value_row uplink_rows[UPLINK_ROW_COUNT];

/* May a section with this name begin? The draft gets the defaults. */
bool backend_section_open(const struct settings *settings, struct span name, struct backend_draft *ret, struct buf *why);
bool uplink_section_open(const struct settings *settings, struct span name, struct uplink_draft *ret, struct buf *why);

/* False: `why` says what is wrong. */
bool backend_section_close(struct settings *settings, struct span name, const struct backend_draft *draft, struct buf *why);
bool uplink_section_close(struct settings *settings, struct span name, const struct uplink_draft *draft, struct buf *why);

/* As they would stand in the file. */
void backend_section_print(const struct backend_section *backend, struct buf *out);
void uplink_section_print(const struct uplink_section *uplink, struct buf *out);

/* A path on a back end: it begins with '/', and holds neither blanks nor ? and #. */
bool backend_path_is_valid(struct span path);

/* Do all uplinks and namespaces name back ends that there are? */
bool backends_are_there(const struct settings *settings, struct buf *why);

#endif
