#include "reactor/tls_section.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/must.h"
#include "base/ref.h"
#include "reactor/tls_tickets.h"

/* Forward secrecy and authenticated encryption alone, for 1.2; 1.3 has nothing else. AES with 128 bits comes first: it takes less
 * processor and, with the shorter digest that goes with it, less memory of each link. */
#define CIPHERS_1_2 "ECDHE+AES128+AESGCM:ECDHE+AESGCM:ECDHE+CHACHA20"
#define CIPHERS_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
/* Without ffdhe and X448, which OpenSSL would offer too: a stranger could make the server compute them. */
#define GROUPS "X25519:P-256:P-384"

struct tls_section {
    SSL_CTX             *context;
    X509                *certificate;  /* borrowed from the context */
    enum tls_client_user client_user;
    unsigned char        digest[SHA256_DIGEST_LENGTH];  /* of its name and of what it asks clients for */
};

struct tls_sections {
    struct ref         ref;
    size_t             count;
    struct tls_section at[];
};

/* --- faults ---------------------------------------------------------------------------------------------------- */

/* What OpenSSL says, in its own words, and with the section and the file before it. */
static bool file_fault(const struct tls_section_facts *facts, const char *line, const char *path, const char *what,
                       struct buf *why)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    buf_putf(why, "[tls %s]: %s: %s: %s", facts->name, line, path, what);
    if (reason != NULL)
        buf_putf(why, " (%s)", reason);
    ERR_clear_error();
    return false;
}

/* --- files ----------------------------------------------------------------------------------------------------- */

/* The whole file. False: `why` says why not. */
static bool pem_slurp(const struct tls_section_facts *facts, const char *line, const char *path, struct buf *text,
                      struct buf *why)
{
    char    piece[4096];
    ssize_t len;
    int     fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    ERR_clear_error();
    if (fd < 0)
        return file_fault(facts, line, path, strerrordesc_np(errno), why);
    while ((len = read(fd, piece, sizeof piece)) > 0 && !buf_is_over(text))
        buf_put(text, span_of(piece, (size_t)len));
    int error = errno;
    OPENSSL_cleanse(piece, sizeof piece);
    close(fd);
    if (len < 0)
        return file_fault(facts, line, path, strerrordesc_np(error), why);
    if (buf_is_over(text))
        return file_fault(facts, line, path, "is larger than 1 MiB", why);
    return true;
}

static BIO *bio_of(const struct buf *text)
{
    BIO *bio = BIO_new_mem_buf(text->len == 0 ? "" : text->at, (int)text->len);

    must(bio != NULL);
    return bio;
}

static void secret_buf_fini(struct buf *text)
{
    if (text->at != NULL)
        OPENSSL_cleanse(text->at, text->cap);
    buf_fini(text);
}

/* The next certificate in a PEM text. NULL: *ret_is_end says whether the text is at its end, or broken. */
static X509 *certificate_next(BIO *bio, bool *ret_is_end)
{
    X509 *certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL);

    *ret_is_end = certificate == NULL && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    if (*ret_is_end)
        ERR_clear_error();
    return certificate;
}

static void time_put(const ASN1_TIME *time, struct buf *why)
{
    BIO  *bio = BIO_new(BIO_s_mem());
    char *at;

    must(bio != NULL);
    ASN1_TIME_print(bio, time);
    long len = BIO_get_mem_data(bio, &at);
    buf_put(why, span_of(at, (size_t)len));
    BIO_free(bio);
}

static bool is_in_force(const struct tls_section_facts *facts, const X509 *certificate, struct buf *why)
{
    bool is_over = X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
    bool is_late = X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0;

    if (is_over || is_late) {
        ERR_clear_error();
        file_fault(facts, "certificate", facts->certificate, is_over ? "has expired on " : "is not valid before ", why);
        time_put(is_over ? X509_get0_notAfter(certificate) : X509_get0_notBefore(certificate), why);
    }
    return !is_over && !is_late;
}

/* --- certificate and key --------------------------------------------------------------------------------------- */

static bool chain_take(const struct tls_section_facts *facts, SSL_CTX *context, BIO *bio, struct buf *why)
{
    bool  is_end;
    X509 *certificate;

    while ((certificate = certificate_next(bio, &is_end)) != NULL)
        if (SSL_CTX_add0_chain_cert(context, certificate) != 1) {
            X509_free(certificate);
            return file_fault(facts, "certificate", facts->certificate, "its chain can't be used", why);
        }
    return is_end || file_fault(facts, "certificate", facts->certificate, "a certificate of its chain can't be read", why);
}

static bool certificate_take(const struct tls_section_facts *facts, SSL_CTX *context, struct buf *why)
{
    struct buf text;
    BIO       *bio         = NULL;
    X509      *certificate = NULL;
    bool       is_good     = false, is_end;

    buf_init(&text, TLS_FILE_BYTES_MAX);
    if (!pem_slurp(facts, "certificate", facts->certificate, &text, why))
        goto out;
    bio         = bio_of(&text);
    certificate = certificate_next(bio, &is_end);
    if (certificate == NULL)
        file_fault(facts, "certificate", facts->certificate, "holds no certificate in PEM", why);
    else if (!is_in_force(facts, certificate, why))
        is_good = false;
    else if (SSL_CTX_use_certificate(context, certificate) != 1)
        file_fault(facts, "certificate", facts->certificate, "can't be used", why);
    else
        is_good = chain_take(facts, context, bio, why);
out:
    X509_free(certificate);
    BIO_free(bio);
    buf_fini(&text);
    return is_good;
}

/* An encrypted key would ask at the terminal for its password. */
static int no_password(char *into, int size, int is_write, void *ctx)
{
    (void)into, (void)size, (void)is_write, (void)ctx;
    return 0;
}

static bool key_take(const struct tls_section_facts *facts, SSL_CTX *context, struct buf *why)
{
    struct buf text;
    BIO       *bio     = NULL;
    EVP_PKEY  *key     = NULL;
    bool       is_good = false;

    buf_init(&text, TLS_FILE_BYTES_MAX);
    if (!pem_slurp(facts, "key", facts->key, &text, why))
        goto out;
    bio = bio_of(&text);
    key = PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL);
    if (key == NULL)
        file_fault(facts, "key", facts->key, "holds no private key in PEM without a password", why);
    else if (X509_check_private_key(SSL_CTX_get0_certificate(context), key) != 1)
        file_fault(facts, "key", facts->key, "is not the key of the certificate", why);
    else if (SSL_CTX_use_PrivateKey(context, key) != 1)
        file_fault(facts, "key", facts->key, "can't be used", why);
    else
        is_good = true;
out:
    EVP_PKEY_free(key);
    BIO_free(bio);
    secret_buf_fini(&text);
    return is_good;
}

/* --- clients' certificates ------------------------------------------------------------------------------------- */

static bool authorities_take(const struct tls_section_facts *facts, SSL_CTX *context, BIO *bio, struct buf *why)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    X509       *authority;
    bool        is_end;
    size_t      count = 0;

    for (; (authority = certificate_next(bio, &is_end)) != NULL; count++) {
        bool is_taken = X509_STORE_add_cert(store, authority) == 1 && SSL_CTX_add_client_CA(context, authority) == 1;
        X509_free(authority);
        if (!is_taken)
            return file_fault(facts, "client_ca", facts->client_ca, "a certificate can't be used", why);
    }
    if (is_end && count > 0)
        return true;
    return file_fault(facts, "client_ca", facts->client_ca,
                      is_end ? "holds no certificate in PEM" : "a certificate can't be read", why);
}

/* A session is resumed only where it began, and only if its client would be asked for the same: the name of the section and
 * how it asks are the session's context (RFC 5077 and RFC 8446 know none; OpenSSL puts it into the ticket). */
static void bind_sessions(const struct tls_section_facts *facts, struct tls_section *section, const struct buf *authorities)
{
    unsigned      len;
    EVP_MD_CTX   *hash = EVP_MD_CTX_new();
    char          ways = (char)((int)facts->client_cert * 2 + (int)facts->client_user);

    must(hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1);
    must(EVP_DigestUpdate(hash, facts->name, strlen(facts->name) + 1) == 1 && EVP_DigestUpdate(hash, &ways, 1) == 1);
    must(EVP_DigestUpdate(hash, authorities->at, authorities->len) == 1 && EVP_DigestFinal_ex(hash, section->digest, &len) == 1);
    EVP_MD_CTX_free(hash);
    must(SSL_CTX_set_session_id_context(section->context, section->digest, len) == 1);
}

static bool clients_take(const struct tls_section_facts *facts, struct tls_section *section, struct buf *why)
{
    SSL_CTX   *context = section->context;
    struct buf text;
    BIO       *bio     = NULL;
    bool       is_good = true;

    buf_init(&text, TLS_FILE_BYTES_MAX);
    if (facts->client_cert != TLS_CLIENT_CERT_NONE) {
        is_good = pem_slurp(facts, "client_ca", facts->client_ca, &text, why);
        bio     = is_good ? bio_of(&text) : NULL;
        is_good = is_good && authorities_take(facts, context, bio, why);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (facts->client_cert == TLS_CLIENT_CERT_REQUIRED ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                           NULL);
    }
    bind_sessions(facts, section, &text);
    BIO_free(bio);
    buf_fini(&text);
    return is_good;
}

/* --- which section, and which protocol ---------------------------------------------------------------------------- */

/* RFC 6066 3: a list with one name of type 0. OpenSSL refuses a broken one later. */
static struct span asked_name(SSL *ssl)
{
    const unsigned char *at;
    size_t               len;

    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &at, &len) != 1 || len < 6 || at[2] != TLSEXT_NAMETYPE_host_name)
        return SPAN("");
    size_t name_len = (size_t)at[3] << 8 | at[4];
    return name_len == 0 || name_len > len - 5 ? SPAN("") : span_of(at + 5, name_len);
}

/* By OpenSSL's own matching, exact names first: the certificate of one host beats a wildcard that stands before it. */
static struct tls_section *section_named(struct tls_sections *sections, struct span name)
{
    static const unsigned passes[] = { X509_CHECK_FLAG_NO_WILDCARDS, 0 };

    for (size_t pass = 0; pass < 2 && name.len > 0; pass++)
        for (size_t i = 0; i < sections->count; i++)
            if (X509_check_host(sections->at[i].certificate, name.at, name.len, passes[pass], NULL) == 1)
                return &sections->at[i];
    return &sections->at[0];
}

/* Before OpenSSL looks at anything else, a ticket included: so a session is compared with the section that its client
 * asks for now. */
static int choose_section(SSL *ssl, int *alert, void *ctx)
{
    struct tls_sections *sections = ctx;
    struct tls_section  *section  = section_named(sections, asked_name(ssl));

    (void)alert;
    ERR_clear_error();
    if (section->context == SSL_get_SSL_CTX(ssl))
        return SSL_CLIENT_HELLO_SUCCESS;
    if (SSL_set_SSL_CTX(ssl, section->context) == NULL)
        return SSL_CLIENT_HELLO_ERROR;
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(section->context), NULL);
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* RFC 7301 3.2: who offers protocols and none of ours is refused. */
static int select_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_len, const unsigned char *offered,
                           unsigned offered_len, void *ctx)
{
    const struct span *ours = SSL_get_default_passwd_cb_userdata(ssl);
    unsigned char     *found;

    (void)ctx;
    if (SSL_select_next_proto(&found, ret_len, (const unsigned char *)ours->at, (unsigned)ours->len, offered,
                              offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = found;
    return SSL_TLSEXT_ERR_OK;
}

/* --- a context ------------------------------------------------------------------------------------------------- */

static void context_tune(SSL_CTX *context, struct tls_tickets *tickets)
{
    must(SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1);
    must(SSL_CTX_set_cipher_list(context, CIPHERS_1_2) == 1 && SSL_CTX_set_ciphersuites(context, CIPHERS_1_3) == 1);
    must(SSL_CTX_set1_groups_list(context, GROUPS) == 1);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                                     SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY);  /* stream_tls.c bounds how much one read may work */
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);  /* tickets alone */
    must(SSL_CTX_set_num_tickets(context, 1) == 1);
    SSL_CTX_set_timeout(context, (TLS_TICKET_KEYS - 1) * TLS_TICKET_KEY_S);
    tls_tickets_use(tickets, context);
}

static bool section_make(struct tls_section *section, const struct tls_section_facts *facts, struct tls_sections *sections,
                         struct tls_tickets *tickets, struct buf *why)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    must(context != NULL);
    section->context     = context;
    section->client_user = facts->client_user;
    context_tune(context, tickets);
    SSL_CTX_set_client_hello_cb(context, choose_section, sections);
    SSL_CTX_set_alpn_select_cb(context, select_protocol, NULL);
    if (!certificate_take(facts, context, why) || !key_take(facts, context, why) || !clients_take(facts, section, why))
        return false;
    section->certificate = SSL_CTX_get0_certificate(context);
    return true;
}

/* --- all of them ------------------------------------------------------------------------------------------------- */

static void sections_free(struct tls_sections *sections)
{
    for (size_t i = 0; i < sections->count; i++)
        SSL_CTX_free(sections->at[i].context);
    free(sections);
}

bool tls_sections_new(const struct tls_section_facts *facts, size_t count, struct tls_tickets *tickets,
                      struct tls_sections **ret, struct buf *why)
{
    must(count > 0);
    struct tls_sections *sections = calloc(1, sizeof *sections + count * sizeof sections->at[0]);

    must(sections != NULL);
    ref_init(&sections->ref);
    sections->count = count;
    for (size_t i = 0; i < count; i++)
        if (!section_make(&sections->at[i], &facts[i], sections, tickets, why)) {
            sections_free(sections);
            return false;
        }
    *ret = sections;
    return true;
}

bool tls_sections_are_like(const struct tls_sections *one, const struct tls_sections *other)
{
    bool are_like = one->count == other->count;

    for (size_t i = 0; i < one->count && are_like; i++)
        are_like = X509_cmp(one->at[i].certificate, other->at[i].certificate) == 0 &&
                   memcmp(one->at[i].digest, other->at[i].digest, sizeof one->at[i].digest) == 0;
    return are_like;
}

struct tls_sections *tls_sections_ref(struct tls_sections *sections)
{
    ref_get(&sections->ref);
    return sections;
}

void tls_sections_unref(struct tls_sections *sections)
{
    if (sections != NULL && ref_put(&sections->ref))
        sections_free(sections);
}

SSL *tls_sections_open(struct tls_sections *sections, const struct span *protocols)
{
    SSL *ssl = SSL_new(sections->at[0].context);

    if (ssl == NULL)
        return NULL;
    /* For select_protocol(). A plain member that servers have no other use for; SSL_set_app_data() would allocate 96 bytes a link. */
    SSL_set_default_passwd_cb_userdata(ssl, (void *)(uintptr_t)protocols);
    SSL_set_accept_state(ssl);
    return ssl;
}

/* --- whom a client's certificate names --------------------------------------------------------------------------- */

/* A text without a NUL byte inside: what stands behind one would be invisible to whoever compares C strings. */
static struct tls_person *person_new(const ASN1_STRING *name)
{
    unsigned char     *text;
    int                len    = ASN1_STRING_to_UTF8(&text, name);
    struct tls_person *person = NULL;

    if (len > 0 && memchr(text, '\0', (size_t)len) == NULL) {
        person = calloc(1, sizeof *person + (size_t)len);
        must(person != NULL);
        person->len = (size_t)len;
        memcpy(person->user, text, person->len);
    }
    if (len >= 0)
        OPENSSL_free(text);
    return person;
}

/* The first DNS name or mail address (RFC 5280 4.2.1.6). */
static struct tls_person *person_by_san(const X509 *certificate)
{
    GENERAL_NAMES     *names  = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    struct tls_person *person = NULL;

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && person == NULL; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type == GEN_DNS || name->type == GEN_EMAIL)
            person = person_new(name->d.ia5);
    }
    GENERAL_NAMES_free(names);
    return person;
}

/* The last common name of the subject: the most specific one. */
static struct tls_person *person_by_cn(const X509 *certificate)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int              last = -1, at;

    while ((at = X509_NAME_get_index_by_NID(subject, NID_commonName, last)) >= 0)
        last = at;
    return last < 0 ? NULL : person_new(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)));
}

static msec msec_of(const ASN1_TIME *time)
{
    struct tm parts;

    return ASN1_TIME_to_tm(time, &parts) == 1 ? (msec)timegm(&parts) * 1000 : 0;
}

enum tls_person_verdict tls_person_of(const struct tls_sections *sections, SSL *ssl, msec wall, struct tls_person **ret)
{
    const X509               *certificate = SSL_get0_peer_certificate(ssl);
    const struct tls_section *section     = sections->at;

    if (certificate == NULL)
        return TLS_PERSON_NONE;
    while (section->context != SSL_get_SSL_CTX(ssl))
        section++;
    if (msec_of(X509_get0_notAfter(certificate)) <= wall)
        return TLS_PERSON_EXPIRED;
    struct tls_person *person = section->client_user == TLS_CLIENT_USER_CN ? person_by_cn(certificate) : person_by_san(certificate);
    ERR_clear_error();
    if (person == NULL)
        return TLS_PERSON_UNNAMED;
    person->from  = msec_of(X509_get0_notBefore(certificate));
    person->until = msec_of(X509_get0_notAfter(certificate));
    *ret          = person;
    return TLS_PERSON_NAMED;
}
