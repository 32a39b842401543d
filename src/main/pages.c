#include "main/pages.h"

/* The assembler copies the files into the binary, byte for byte. */
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
PAGE_BYTES(demo, "web/demo.js");
PAGE_BYTES(reader, "web/reader.js");
PAGE_BYTES(style, "web/demo.css");
PAGE_BYTES(icon, "web/icon.svg");
PAGE_BYTES(openapi, "docs/openapi.json");

#define PAGE(path, media, name)                                                                            \
    (struct api_page){ path, media, span_of(page_##name, (size_t)(page_##name##_end - page_##name)) }

enum { PAGE_COUNT = 6 };

size_t pages_get(const struct api_page **ret_pages)
{
    static struct api_page pages[PAGE_COUNT];

    if (pages[0].path == NULL) {
        pages[1] = PAGE("/demo.js", "text/javascript; charset=utf-8", demo);
        pages[2] = PAGE("/reader.js", "text/javascript; charset=utf-8", reader);
        pages[3] = PAGE("/demo.css", "text/css; charset=utf-8", style);
        pages[4] = PAGE("/icon.svg", "image/svg+xml", icon);
        pages[5] = PAGE("/v1/openapi.json", "application/json", openapi);
        pages[0] = PAGE("/", "text/html; charset=utf-8", index);
    }
    *ret_pages = pages;
    return PAGE_COUNT;
}
