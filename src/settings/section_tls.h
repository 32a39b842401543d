/* section_tls.h - the section [tls NAME]: a certificate, and what it asks of clients. Private to this module.
 *
 * The files are read by who makes connections from them; here stand only their paths. */
#ifndef SETTINGS_SECTION_TLS_H
#define SETTINGS_SECTION_TLS_H

#include "settings/settings.h"
#include "settings/value.h"

/* Its lines, while they are being read. */
struct tls_draft {
    char             certificate[SECRET_FILE_BYTES_MAX + 1];
    char             key[SECRET_FILE_BYTES_MAX + 1];
    char             client_ca[SECRET_FILE_BYTES_MAX + 1];
    enum client_cert client_cert;
    enum client_user client_user;
};

enum { TLS_ROW_COUNT = 5 };
extern const struct value_row tls_rows[TLS_ROW_COUNT];

/* May a section with this name begin? The draft gets the defaults. */
bool tls_section_open(const struct settings *settings, struct span name, struct tls_draft *ret, struct buf *why);
bool tls_section_close(struct settings *settings, struct span name, const struct tls_draft *draft, struct buf *why);

void tls_section_print(const struct tls_section_files *files, struct buf *out);

bool tls_section_is_like(const struct tls_section_files *one, const struct tls_section_files *other);

#endif
