/* The vectors of RFC 4231, and OpenSSL's own HMAC beside ours over secrets and texts of all lengths around a block. */
#include "codec/hmac/hmac.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cmocka.h>

static const char *const digests[] = { "SHA256", "SHA384", "SHA512" };

static void the_rfcs_vector_comes_out(void **state)
{
    static const unsigned char wanted[] = {
        0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
        0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
    };
    unsigned char made[HMAC_BYTES_LONGEST];
    struct hmac  *hmac = hmac_new("SHA256", SPAN("Jefe"));  /* RFC 4231 4.3 */

    (void)state;
    for (int turn = 0; turn < 2; turn++) {
        assert_int_equal(hmac_make(hmac, SPAN("what do ya want for nothing?"), made), sizeof wanted);
        assert_memory_equal(made, wanted, sizeof wanted);
    }
    hmac_free(hmac);
    hmac_free(NULL);
}

static void it_is_what_openssl_makes(void **state)
{
    char secret[300], text[300];

    (void)state;
    for (size_t i = 0; i < sizeof secret; i++) {
        secret[i] = (char)(i * 7 + 1);
        text[i]   = (char)(i * 31 + 5);
    }
    for (size_t i = 0; i < sizeof digests / sizeof digests[0]; i++) {
        for (size_t len = 1; len < sizeof secret; len += len < 140 ? 1 : 37) {
            struct hmac  *hmac = hmac_new(digests[i], span_of(secret, len));
            unsigned char made[HMAC_BYTES_LONGEST], wanted[EVP_MAX_MD_SIZE];
            unsigned      wanted_len = 0;
            for (size_t text_len = 0; text_len < sizeof text; text_len += 13) {
                assert_non_null(HMAC(EVP_get_digestbyname(digests[i]), secret, (int)len, (const unsigned char *)text, text_len,
                                     wanted, &wanted_len));
                assert_int_equal(hmac_make(hmac, span_of(text, text_len), made), wanted_len);
                assert_memory_equal(made, wanted, wanted_len);
            }
            hmac_free(hmac);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rfcs_vector_comes_out),
        cmocka_unit_test(it_is_what_openssl_makes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
