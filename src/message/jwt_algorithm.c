#include "message/jwt_algorithm.h"

static const char *const names[JWT_ALGORITHM_COUNT] = {
    [JWT_HS256] = "HS256", [JWT_HS384] = "HS384", [JWT_HS512] = "HS512", [JWT_RS256] = "RS256", [JWT_RS384] = "RS384",
    [JWT_RS512] = "RS512", [JWT_PS256] = "PS256", [JWT_ES256] = "ES256", [JWT_ES384] = "ES384", [JWT_EDDSA] = "EdDSA",
};

bool jwt_algorithm_find(struct span name, enum jwt_algorithm *ret)
{
    for (int i = 0; i < JWT_ALGORITHM_COUNT; i++)
        if (span_eq(span_str(names[i]), name)) {
            *ret = (enum jwt_algorithm)i;
            return true;
        }
    return false;
}

const char *jwt_algorithm_name(enum jwt_algorithm algorithm)
{
    must(algorithm < JWT_ALGORITHM_COUNT);
    return names[algorithm];
}
