/* tls_section.h - certificates and what they are served with: the [tls NAME] sections as OpenSSL's contexts.
 *
 * One context a section, made from its files at the start and at each reload. A connection takes the section whose
 * certificate has the name that its client asks for (SNI, RFC 6066 3), and the first section else; it keeps it until it
 * ends, whatever is reloaded. A session that is resumed is bound to the section that it began with.
 *
 * Versions are 1.2 and 1.3. Renegotiation, compression and early data are off. */
#ifndef REACTOR_TLS_SECTION_H
#define REACTOR_TLS_SECTION_H

#include <openssl/ssl.h>

#include "base/buf.h"
#include "base/msec.h"

struct tls_sections;
struct tls_tickets;

enum tls_client_cert { TLS_CLIENT_CERT_NONE, TLS_CLIENT_CERT_OPTIONAL, TLS_CLIENT_CERT_REQUIRED };
enum tls_client_user { TLS_CLIENT_USER_SAN, TLS_CLIENT_USER_CN };

enum { TLS_FILE_BYTES_MAX = 1024 * 1024 };

/* What a section is made of. Borrowed for the call. */
struct tls_section_facts {
    const char          *name;
    const char          *certificate, *key;  /* PEM files; the certificate's may hold its chain behind it */
    const char          *client_ca;          /* a PEM file; "": none, and client_cert is NONE */
    enum tls_client_cert client_cert;
    enum tls_client_user client_user;
};

/* Counted by all threads. False: `why` says what is wrong, with the section and the file. `tickets` is borrowed until
 * the last connection of these sections has ended. */
bool tls_sections_new(const struct tls_section_facts *facts, size_t count, struct tls_tickets *tickets,
                      struct tls_sections **ret, struct buf *why);
struct tls_sections *tls_sections_ref(struct tls_sections *sections);
void                 tls_sections_unref(struct tls_sections *sections);  /* NULL is fine */

/* Have both the same certificates, in the same order, and ask clients for the same? */
bool tls_sections_are_like(const struct tls_sections *one, const struct tls_sections *other);

/* A connection of the server's side. `protocols`: what it may choose from by ALPN (RFC 7301), the best first, each with
 * its length in one byte before it. NULL: no memory. `protocols` and `sections` are borrowed until the handshake is done;
 * after it the connection keeps alive what it needs. */
SSL *tls_sections_open(struct tls_sections *sections, const struct span *protocols);

/* Whom a client's certificate names. */
struct tls_person {
    msec   from, until;  /* when the certificate is valid; wall, ms since 1970 */
    size_t len;
    char   user[];       /* as the certificate has it, without a NUL byte */
};

enum tls_person_verdict {
    TLS_PERSON_NONE,     /* there is no certificate, and none is needed */
    TLS_PERSON_NAMED,
    TLS_PERSON_UNNAMED,  /* the certificate has no name where the section looks for one */
    TLS_PERSON_EXPIRED,  /* by now: a resumed session is not verified again by OpenSSL */
};

/* After the handshake. The section's authority has signed the certificate; NAMED: *ret is the caller's, to free(). */
enum tls_person_verdict tls_person_of(const struct tls_sections *sections, SSL *ssl, msec wall, struct tls_person **ret);

#endif
