/* token.c - `longwire token`: signs a token for a user with a secret that the server knows too, to try things out. */
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/base64.h"
#include "codec/json/json.h"
#include "longwire/cli.h"
#include "longwire/command.h"
#include "longwire/duration.h"
#include "longwire/print.h"
#include "message/grant.h"
#include "message/user_name.h"

enum { TOKEN_SECRET_BYTES_MIN = 16, TOKEN_SECRET_BYTES_MAX = 512, TOKEN_BYTES_MAX = 8 * 1024, TOKEN_LIFE_MS = 3600 * 1000 };

struct token_order {
    const char *user, *device, *secret_file, *issuer, *audience, *jti;
    const char *grants[GRANTS_MAX];
    size_t      grant_count;
    msec        life;
};

static bool take_life(struct token_order *order, const char *value)
{
    if (duration_parse(span_str(value), &order->life) && order->life >= 1000)
        return true;
    say("--expires takes a length of time of a second or more, not %s", value);
    return false;
}

static bool take_grant(struct token_order *order, const char *value)
{
    if (order->grant_count == GRANTS_MAX) {
        say("a token has at most %d grants", GRANTS_MAX);
        return false;
    }
    order->grants[order->grant_count++] = value;
    return true;
}

static bool token_option(void *arg, int option, const char *value)
{
    struct token_order *order = arg;

    switch (option) {
    case OPTION_USER: order->user = value; return true;
    case OPTION_DEVICE: order->device = value; return true;
    case OPTION_SECRET_FILE: order->secret_file = value; return true;
    case OPTION_ISSUER: order->issuer = value; return true;
    case OPTION_AUDIENCE: order->audience = value; return true;
    case OPTION_JTI: order->jti = value; return true;
    case OPTION_EXPIRES: return take_life(order, value);
    case OPTION_GRANT: return take_grant(order, value);
    default: return true;
    }
}

/* --- what it says ------------------------------------------------------------------------------------------------ */

static void claim_put(struct buf *claims, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_putf(claims, ",\"%s\":", name);
    json_put_string(claims, span_str(value));
}

/* "topic:*=subscribe,publish". The last = counts: a channel's name may hold one. */
static bool grant_put(struct buf *claims, const char *text)
{
    const char *equals = strrchr(text, '=');
    struct span match  = span_of(text, equals == NULL ? 0 : (size_t)(equals - text));
    struct span words  = span_str(equals == NULL ? "" : equals + 1), word;
    const char *comma  = "";

    if (!grant_pattern_is_valid(match) || words.len == 0) {
        say("--grant takes PATTERN=RIGHTS, for instance 'topic:*=subscribe,publish', not %s", text);
        return false;
    }
    buf_put_lit(claims, "{\"match\":");
    json_put_string(claims, match);
    buf_put_lit(claims, ",\"can\":[");
    while (span_cut(&words, ',', &word)) {
        if (grant_can_of(span_trim(word)) == 0) {
            say("--grant: there is no right %.*s; there are subscribe, publish, history, presence", SPAN_ARG(word));
            return false;
        }
        buf_put(claims, span_str(comma));
        json_put_string(claims, span_trim(word));
        comma = ",";
    }
    buf_put_lit(claims, "]}");
    return true;
}

static bool claims_put(struct buf *claims, const struct token_order *order, long long now)
{
    buf_put_lit(claims, "{\"sub\":");
    json_put_string(claims, span_str(order->user));
    claim_put(claims, "device", order->device);
    claim_put(claims, "iss", order->issuer);
    claim_put(claims, "aud", order->audience);
    claim_put(claims, "jti", order->jti);
    buf_putf(claims, ",\"iat\":%lld,\"exp\":%lld", now, now + (long long)(order->life / 1000));
    for (size_t i = 0; i < order->grant_count; i++) {
        buf_put(claims, i == 0 ? SPAN(",\"channels\":[") : SPAN(","));
        if (!grant_put(claims, order->grants[i]))
            return false;
    }
    buf_put(claims, order->grant_count == 0 ? SPAN("}") : SPAN("]}"));
    return true;
}

/* --- the secret -------------------------------------------------------------------------------------------------- */

/* All bytes of the file but a line end behind them, as the server takes it. */
static bool secret_get(const char *path, struct buf *ret)
{
    char    piece[TOKEN_SECRET_BYTES_MAX + 3];
    int     fd  = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;

    while (fd >= 0 && ret->len < sizeof piece && (got = read(fd, piece, sizeof piece)) > 0)
        buf_put(ret, span_of(piece, (size_t)got));
    if (fd < 0 || got < 0) {
        say("%s can't be read: %s", path, strerrordesc_np(errno));
        return false;
    }
    close(fd);
    if (ret->len > 0 && ret->at[ret->len - 1] == '\n')
        ret->len--;
    if (ret->len > 0 && ret->at[ret->len - 1] == '\r')
        ret->len--;
    if (ret->len >= TOKEN_SECRET_BYTES_MIN && ret->len <= TOKEN_SECRET_BYTES_MAX)
        return true;
    say("the secret in %s must have %d to %d bytes", path, TOKEN_SECRET_BYTES_MIN, TOKEN_SECRET_BYTES_MAX);
    return false;
}

static void token_sign(struct buf *token, struct span secret)
{
    unsigned char made[EVP_MAX_MD_SIZE];
    unsigned      len = 0;

    must(HMAC(EVP_sha256(), secret.at, (int)secret.len, (const unsigned char *)token->at, token->len, made, &len) != NULL);
    buf_putc(token, '.');
    base64url_put(token, span_of(made, len));
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

static bool order_is_good(const struct token_order *order)
{
    if (order->user == NULL || order->secret_file == NULL)
        say("for whom, and by which secret? For instance: longwire token --user ann --secret-file jwt.secret");
    else if (!user_name_is_valid(span_str(order->user)) ||
             (order->device != NULL && !device_name_is_valid(span_str(order->device))))
        say(USER_NAMES_ARE);
    else
        return true;
    return false;
}

static int token_make(const struct token_order *order)
{
    struct buf claims, token, secret;
    int        exit_code = EXIT_USAGE;

    buf_init(&claims, TOKEN_BYTES_MAX);
    buf_init(&token, 2 * TOKEN_BYTES_MAX);
    buf_init(&secret, 4096);
    if (claims_put(&claims, order, (long long)time(NULL)) && secret_get(order->secret_file, &secret)) {
        base64url_put(&token, SPAN("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"));
        buf_putc(&token, '.');
        base64url_put(&token, buf_span(&claims));
        token_sign(&token, buf_span(&secret));
        buf_putc(&token, '\n');
        if (buf_is_over(&claims) || token.len > TOKEN_BYTES_MAX)
            say("a token has at most %d bytes; leave out some grants", TOKEN_BYTES_MAX);
        else
            exit_code = print_once(buf_span(&token));
    }
    if (secret.at != NULL)
        explicit_bzero(secret.at, secret.cap);
    buf_fini(&secret);
    buf_fini(&claims);
    buf_fini(&token);
    return exit_code;
}

int command_token(struct invocation *invocation)
{
    struct token_order order = { .life = TOKEN_LIFE_MS };

    if (!invocation_read(invocation, token_option, &order))
        return invocation->exit;
    return order_is_good(&order) ? token_make(&order) : EXIT_USAGE;
}
