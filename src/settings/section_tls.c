#include "settings/section_tls.h"

#include "base/must.h"
#include "settings/secret_file.h"

#define CLIENT_CERT_WORDS "none|optional|required"
#define CLIENT_USER_WORDS "san|cn"

#define AT(member) offsetof(struct tls_draft, member)
const struct value_row tls_rows[TLS_ROW_COUNT] = {
    { "certificate", VALUE_TEXT, AT(certificate), .max = SECRET_FILE_BYTES_MAX,
      .help = "The absolute path of a PEM file: the server's certificate, and behind it those between it and the authority. "
              "It must be there. It is read at the start and at each reload." },
    { "key", VALUE_TEXT, AT(key), .max = SECRET_FILE_BYTES_MAX,
      .help = "The absolute path of a PEM file: the private key of the certificate, without a password. It must be there." },
    { "client_ca", VALUE_TEXT, AT(client_ca), .max = SECRET_FILE_BYTES_MAX,
      .help = "The absolute path of a PEM file: authorities that sign certificates of clients. With it `client_cert` must be "
              "optional or required." },
    { "client_cert", VALUE_CHOICE, AT(client_cert), .words = CLIENT_CERT_WORDS,
      .help = "Whether clients are asked for a certificate: none: no; optional: who shows one is the user that it names; required: "
              "nobody comes in without one. One that `client_ca` has not signed, or that has expired, is refused. Default none." },
    { "client_user", VALUE_CHOICE, AT(client_user), .words = CLIENT_USER_WORDS,
      .help = "Where the user's name stands in a client's certificate. san: the first DNS name or mail address of its "
              "subjectAltName; cn: the common name of its subject. Default san." },
};
#undef AT

bool tls_section_open(const struct settings *settings, struct span name, struct tls_draft *ret, struct buf *why)
{
    *ret = (struct tls_draft){ 0 };
    for (size_t i = 0; i < settings->tls_count; i++)
        if (span_eq(span_str(settings->tls[i].name), name)) {
            buf_put_lit(why, "this certificate has a section already");
            return false;
        }
    if (settings->tls_count == TLS_SECTIONS_MAX)
        buf_putf(why, "there may be at most %d [tls] sections", TLS_SECTIONS_MAX);
    return settings->tls_count < TLS_SECTIONS_MAX;
}

static bool path_is_good(const char *line, const char *path, struct buf *why)
{
    if (secret_file_path_is_valid(span_str(path)))
        return true;
    buf_putf(why, "%s must be there: an absolute path of at most %d bytes", line, SECRET_FILE_BYTES_MAX);
    return false;
}

bool tls_section_close(struct settings *settings, struct span name, const struct tls_draft *draft, struct buf *why)
{
    must(name.len <= KEY_NAME_BYTES_MAX && settings->tls_count < TLS_SECTIONS_MAX);
    bool has_authorities = draft->client_ca[0] != '\0';

    if (!path_is_good("certificate", draft->certificate, why) || !path_is_good("key", draft->key, why) ||
        (has_authorities && !path_is_good("client_ca", draft->client_ca, why)))
        return false;
    if (has_authorities != (draft->client_cert != CLIENT_CERT_NONE)) {
        buf_put_lit(why, "client_ca and client_cert = optional or required belong together: there is only one of them");
        return false;
    }
    struct tls_section_files *files = &settings->tls[settings->tls_count++];
    *files = (struct tls_section_files){ .client_cert = draft->client_cert, .client_user = draft->client_user };
    memcpy(files->name, name.at, name.len);
    memcpy(files->certificate, draft->certificate, sizeof files->certificate);
    memcpy(files->key, draft->key, sizeof files->key);
    memcpy(files->client_ca, draft->client_ca, sizeof files->client_ca);
    return true;
}

void tls_section_print(const struct tls_section_files *files, struct buf *out)
{
    static const char *const certs[] = { "none", "optional", "required" };
    static const char *const users[] = { "san", "cn" };

    buf_putf(out, "\n[tls %s]\ncertificate = %s\nkey = %s\n", files->name, files->certificate, files->key);
    if (files->client_ca[0] != '\0')
        buf_putf(out, "client_ca = %s\nclient_cert = %s\nclient_user = %s\n", files->client_ca, certs[files->client_cert],
                 users[files->client_user]);
}

bool tls_section_is_like(const struct tls_section_files *one, const struct tls_section_files *other)
{
    return strcmp(one->name, other->name) == 0 && strcmp(one->certificate, other->certificate) == 0 &&
           strcmp(one->key, other->key) == 0 && strcmp(one->client_ca, other->client_ca) == 0 &&
           one->client_cert == other->client_cert && one->client_user == other->client_user;
}
