#include "settings/section_jwt.h"

#include <ctype.h>

#include "base/must.h"
#include "settings/secret_file.h"

enum { LEEWAY_S_DEFAULT = 30, LEEWAY_S_MOST = 3600 };

enum { ALGORITHMS, SECRET, SECRET_FILE, KEY_FILE, JWKS, ISSUER, AUDIENCE, LEEWAY };

#define AT(member) offsetof(struct jwt_draft, member)
const struct value_row jwt_rows[JWT_ROW_COUNT] = {
    [ALGORITHMS] = { "algorithms", VALUE_TEXT, AT(algorithms), .max = 127,
                     .help = "The signatures that are taken, with commas between: HS256, HS384, HS512, RS256, RS384, "
                             "RS512, PS256, ES256, ES384, EdDSA. Without it the one that fits the key: HS256, RS256, "
                             "ES256, ES384 or EdDSA, or what a key of `jwks` says. A token never chooses." },
    [SECRET] = { "secret", VALUE_TEXT, AT(secret), .max = JWT_SECRET_BYTES_MAX,
                 .help = "What the issuer and the server share, for HS256 to HS512: at least 16 bytes, better as many as "
                         "the signature has (32, 48, 64). One of secret, secret_file, key_file and jwks must be there." },
    [SECRET_FILE] = { "secret_file", VALUE_TEXT, AT(secret_file), .max = JWT_PLACE_BYTES_MAX,
                      .help = "The absolute path of a file that holds the secret, all of its bytes but a line end behind "
                              "them. It is read at the start and at each reload, as are key_file and the file of jwks." },
    [KEY_FILE] = { "key_file", VALUE_TEXT, AT(key_file), .max = JWT_PLACE_BYTES_MAX,
                   .help = "The absolute path of a file of public keys or certificates in PEM: RSA of 2048 to 8192 bits, "
                           "EC on P-256 or P-384, Ed25519. Several are fine, such as an old and a new one." },
    [JWKS] = { "jwks", VALUE_TEXT, AT(jwks), .max = JWT_PLACE_BYTES_MAX,
               .help = "The absolute path of a JSON file with a set of keys (RFC 7517), or the address of one, https:// "
                       "or http://: see jwks_refresh_s." },
    [ISSUER] = { "issuer", VALUE_TEXT, AT(issuer), .max = JWT_NAME_BYTES_MAX,
                 .help = "What `iss` of its tokens must say. Without it `iss` does not matter." },
    [AUDIENCE] = { "audience", VALUE_TEXT, AT(audience), .max = JWT_NAME_BYTES_MAX,
                   .help = "What `aud` of its tokens must say, or have in its list. Without it `aud` does not matter." },
    [LEEWAY] = { "leeway_s", VALUE_SECONDS, AT(leeway_s), .max = LEEWAY_S_MOST,
                 .help = "How far the clocks of issuer and server may be apart. Default 30s." },
};
#undef AT

static const char *const source_names[] = {
    [JWT_SECRET] = "secret", [JWT_KEY_FILE] = "key_file", [JWT_JWKS_FILE] = "jwks", [JWT_JWKS_URL] = "jwks",
};

const char *jwt_source_name(enum jwt_source source)
{
    return source_names[source];
}

/* --- opening ------------------------------------------------------------------------------------------------- */

bool jwt_section_open(const struct settings *settings, struct span name, struct buf *why)
{
    for (size_t i = 0; i < settings->issuer_count; i++)
        if (span_eq(span_str(settings->issuers[i].name), name)) {
            buf_put_lit(why, "this issuer has a section already");
            return false;
        }
    if (settings->issuer_count == ISSUERS_MAX)
        buf_putf(why, "there may be at most %d issuers", ISSUERS_MAX);
    return settings->issuer_count < ISSUERS_MAX;
}

/* --- closing ------------------------------------------------------------------------------------------------- */

static bool algorithms_read(struct span list, unsigned *ret, struct buf *why)
{
    struct span        word;
    enum jwt_algorithm algorithm;

    while (span_cut(&list, ',', &word)) {
        if (!jwt_algorithm_find(span_trim(word), &algorithm)) {
            buf_putf(why, "algorithms: there is no %.*s here; there are HS256, HS384, HS512, RS256, RS384, RS512, PS256, "
                     "ES256, ES384, EdDSA", SPAN_ARG(span_trim(word)));
            return false;
        }
        *ret |= 1u << algorithm;
    }
    if (*ret == 0)
        buf_put_lit(why, "algorithms is empty; leave it out, or name at least one");
    return *ret != 0;
}

static bool is_url(struct span place)
{
    return span_starts(place, SPAN("https://")) || span_starts(place, SPAN("http://"));
}

/* Which of the four lines is there, once? False: `why` says. */
static bool source_find(struct jwt_section *section, const struct jwt_draft *draft, unsigned seen, struct buf *why)
{
    const struct { int row; enum jwt_source source; const char *place; } rows[] = {
        { SECRET, JWT_SECRET, "" },
        { SECRET_FILE, JWT_SECRET, draft->secret_file },
        { KEY_FILE, JWT_KEY_FILE, draft->key_file },
        { JWKS, is_url(span_str(draft->jwks)) ? JWT_JWKS_URL : JWT_JWKS_FILE, draft->jwks },
    };
    size_t found = 0;

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if ((seen & 1u << rows[i].row) == 0)
            continue;
        found++;
        section->source = rows[i].source;
        memcpy(section->place, rows[i].place, strlen(rows[i].place));
    }
    if (found != 1)
        buf_put_lit(why, "one of secret, secret_file, key_file and jwks must be there, and only one");
    return found == 1;
}

static bool key_text_add(struct settings *settings, struct jwt_section *section, struct span text, struct buf *why)
{
    if (text.len > KEY_TEXT_BYTES_MAX - settings->key_text_len) {
        buf_putf(why, "the secrets and key files of all issuers together may have at most %d bytes", KEY_TEXT_BYTES_MAX);
        return false;
    }
    section->key_at  = settings->key_text_len;
    section->key_len = (uint32_t)text.len;
    memcpy(settings->key_text + section->key_at, text.at, text.len);
    settings->key_text_len += section->key_len;
    return true;
}

static struct span secret_of_text(struct span text)
{
    if (text.len > 0 && text.at[text.len - 1] == '\n')
        text.len--;
    if (text.len > 0 && text.at[text.len - 1] == '\r')
        text.len--;
    return text;
}

static bool secret_take(struct settings *settings, struct jwt_section *section, struct span secret, struct buf *why)
{
    if (secret.len >= JWT_SECRET_BYTES_MIN && secret.len <= JWT_SECRET_BYTES_MAX)
        return key_text_add(settings, section, secret, why);
    buf_putf(why, "the secret has %zu bytes; it must have %d to %d", secret.len, JWT_SECRET_BYTES_MIN,
             JWT_SECRET_BYTES_MAX);
    return false;
}

static bool file_take(struct settings *settings, struct jwt_section *section, const char *line, struct buf *why)
{
    struct buf text;

    if (section->place[0] != '/') {
        buf_putf(why, "%s must be an absolute path%s", line,
                 section->source == JWT_JWKS_FILE ? ", or an address that begins with https:// or http://" : "");
        return false;
    }
    buf_init(&text, KEY_TEXT_BYTES_MAX);
    bool is_good = key_file_read(line, section->place, &text, why) &&
                   (section->source == JWT_SECRET
                        ? secret_take(settings, section, secret_of_text(buf_span(&text)), why)
                        : key_text_add(settings, section, buf_span(&text), why));
    if (text.at != NULL)
        explicit_bzero(text.at, text.cap);
    buf_fini(&text);
    return is_good;
}

static bool keys_take(struct settings *settings, struct jwt_section *section, const struct jwt_draft *draft,
                      unsigned seen, struct buf *why)
{
    if (section->source == JWT_JWKS_URL)
        return true;  /* they are fetched later */
    if ((seen & 1u << SECRET) != 0)
        return secret_take(settings, section, span_str(draft->secret), why);
    return file_take(settings, section, (seen & 1u << SECRET_FILE) != 0 ? "secret_file" : source_names[section->source],
                     why);
}

bool jwt_section_close(struct settings *settings, struct span name, const struct jwt_draft *draft, unsigned seen,
                       struct buf *why)
{
    struct jwt_section section = { .leeway_s = (seen & 1u << LEEWAY) != 0 ? draft->leeway_s : LEEWAY_S_DEFAULT };

    must(name.len <= KEY_NAME_BYTES_MAX && settings->issuer_count < ISSUERS_MAX);
    memcpy(section.name, name.at, name.len);
    if (!source_find(&section, draft, seen, why))
        return false;
    if ((seen & 1u << ALGORITHMS) != 0 && !algorithms_read(span_str(draft->algorithms), &section.algorithms, why))
        return false;
    if ((seen & 1u << ISSUER) != 0)
        memcpy(section.issuer, draft->issuer, strlen(draft->issuer));
    if ((seen & 1u << AUDIENCE) != 0)
        memcpy(section.audience, draft->audience, strlen(draft->audience));
    if (!keys_take(settings, &section, draft, seen, why))
        return false;
    settings->issuers[settings->issuer_count++] = section;
    return true;
}

/* --- printing ------------------------------------------------------------------------------------------------ */

static void algorithms_print(unsigned algorithms, struct buf *out)
{
    const char *before = "algorithms = ";

    for (int i = 0; i < JWT_ALGORITHM_COUNT; i++) {
        if ((algorithms & 1u << i) == 0)
            continue;
        buf_putf(out, "%s%s", before, jwt_algorithm_name((enum jwt_algorithm)i));
        before = ", ";
    }
    if (algorithms != 0)
        buf_putc(out, '\n');
}

void jwt_sections_print(const struct settings *settings, struct buf *out)
{
    for (size_t i = 0; i < settings->issuer_count; i++) {
        const struct jwt_section *section = &settings->issuers[i];
        bool                      is_file = section->place[0] != '\0';
        buf_putf(out, "\n[jwt %s]\n", section->name);
        algorithms_print(section->algorithms, out);
        buf_putf(out, "%s%s = %s\n", source_names[section->source],
                 section->source == JWT_SECRET && is_file ? "_file" : "", is_file ? section->place : "****************");
        if (section->issuer[0] != '\0')
            buf_putf(out, "issuer = %s\n", section->issuer);
        if (section->audience[0] != '\0')
            buf_putf(out, "audience = %s\n", section->audience);
        buf_putf(out, "leeway_s = %llds\n", (long long)section->leeway_s);
    }
}
