/* section_jwt.h - a [jwt NAME] section: an issuer of tokens for users. Private to this module. */
#ifndef SETTINGS_SECTION_JWT_H
#define SETTINGS_SECTION_JWT_H

#include "settings/settings.h"
#include "settings/value.h"

/* Its lines, while it is being read. */
struct jwt_draft {
    char    algorithms[128];
    char    secret[JWT_SECRET_BYTES_MAX + 1];
    char    secret_file[JWT_PLACE_BYTES_MAX + 1], key_file[JWT_PLACE_BYTES_MAX + 1], jwks[JWT_PLACE_BYTES_MAX + 1];
    char    issuer[JWT_NAME_BYTES_MAX + 1], audience[JWT_NAME_BYTES_MAX + 1];
    int64_t leeway_s;
};

enum { JWT_ROW_COUNT = 8 };
extern const struct value_row jwt_rows[JWT_ROW_COUNT];

/* May a section with this name begin? */
bool jwt_section_open(const struct settings *settings, struct span name, struct buf *why);

/* `seen`: a bit for each line that was there. Reads the file that it names. False: `why` says what is wrong, never a
 * secret. */
bool jwt_section_close(struct settings *settings, struct span name, const struct jwt_draft *draft, unsigned seen,
                       struct buf *why);

void jwt_sections_print(const struct settings *settings, struct buf *out);

#endif
