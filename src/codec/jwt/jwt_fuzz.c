/* Any bytes as a token; and, so that chance gets beyond base64, any bytes as the claims behind a header that is right, or
 * as the header. What is read keeps the promises of jwt.h. */
#include "base/base64.h"
#include "base/must.h"
#include "codec/jwt/jwt.h"
#include "message/user_name.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check(struct jwt_reader *reader, struct span token)
{
    struct jwt  jwt;
    const char *why = jwt_read(reader, token, &jwt);

    if (why != NULL) {
        must(why[0] != '\0');
        return;
    }
    must(jwt_is_like(token) && jwt.algorithm < JWT_ALGORITHM_COUNT && jwt.signature.len > 0);
    must(user_name_is_valid(jwt.user) && (jwt.device.len == 0 || device_name_is_valid(jwt.device)));
    must(jwt.kid.len <= JWT_ID_BYTES_MAX && jwt.jti.len <= JWT_ID_BYTES_MAX && jwt.expires_at > 0);
    must(jwt.not_before >= 0 && jwt.issued_at >= 0 && jwt.grant_count <= GRANTS_MAX);
    must(span_starts(token, jwt.signed_part));
    for (size_t i = 0; i < jwt.grant_count; i++)
        must(grant_pattern_is_valid(jwt.grants[i].match) && (jwt.grants[i].can & ~(unsigned)CAN_ALL) == 0);
    jwt_is_for(reader, &jwt, SPAN("audience"));
}

static void check_parts(struct jwt_reader *reader, struct span header, struct span claims)
{
    struct buf token;

    if (header.len == 0)
        return;
    buf_init(&token, 1 << 20);
    base64url_put(&token, header);
    buf_putc(&token, '.');
    base64url_put(&token, claims);
    buf_put_lit(&token, ".c2ln");
    check(reader, buf_span(&token));
    buf_fini(&token);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct jwt_reader reader;
    struct span       text = span_of(bytes, len);

    jwt_reader_init(&reader);
    check(&reader, text);
    check_parts(&reader, SPAN("{\"alg\":\"HS256\",\"kid\":\"k\"}"), text);
    check_parts(&reader, text, SPAN("{\"sub\":\"ann\",\"exp\":1800000000}"));
    jwt_reader_fini(&reader);
    return 0;
}
