#include "main/pages.h"

/* The assembler takes the files in as they are. */
#define PAGE_BYTES(name, file)                                                                             \
    __asm__(".section .rodata\n"                                                                           \
            ".balign 16\n"                                                                                 \
            "page_" #name ":\n"                                                                            \
            ".incbin \"" file "\"\n"                                                                       \
            "page_" #name "_end:\n"                                                                        \
            ".previous\n");                                                                                \
    extern const char page_##name[] __attribute__((visibility("hidden")));                                 \
    extern const char page_##name##_end[] __attribute__((visibility("hidden")))

PAGE_BYTES(index, "web/index.html");
PAGE_BYTES(script, "web/demo.js");
PAGE_BYTES(style, "web/demo.css");

enum { PAGE_COUNT = 3 };

size_t pages_get(const struct api_page **ret_pages)
{
    static struct api_page pages[PAGE_COUNT];

    if (pages[0].path == NULL) {
        pages[1] = (struct api_page){ "/demo.js", "text/javascript; charset=utf-8",
                                      span_of(page_script, (size_t)(page_script_end - page_script)) };
        pages[2] = (struct api_page){ "/demo.css", "text/css; charset=utf-8",
                                      span_of(page_style, (size_t)(page_style_end - page_style)) };
        pages[0] = (struct api_page){ "/", "text/html; charset=utf-8",
                                      span_of(page_index, (size_t)(page_index_end - page_index)) };
    }
    *ret_pages = pages;
    return PAGE_COUNT;
}
