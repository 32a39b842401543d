#include "main/pages.h"

#include <string.h>

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
PAGE_BYTES(style, "web/demo.css");
PAGE_BYTES(icon, "web/icon.svg");
PAGE_BYTES(openapi, "docs/openapi.json");

/* The JavaScript client, as the page imports it. Files named node_… are for Node.js alone. */
PAGE_BYTES(client_index, "clients/js/index.js");
PAGE_BYTES(client_back_off, "clients/js/lib/back_off.js");
PAGE_BYTES(client_bin, "clients/js/lib/bin.js");
PAGE_BYTES(client_client, "clients/js/lib/client.js");
PAGE_BYTES(client_emitter, "clients/js/lib/emitter.js");
PAGE_BYTES(client_errors, "clients/js/lib/errors.js");
PAGE_BYTES(client_event_stream, "clients/js/lib/event_stream.js");
PAGE_BYTES(client_http, "clients/js/lib/http.js");
PAGE_BYTES(client_link_places, "clients/js/lib/link_places.js");
PAGE_BYTES(client_outbox, "clients/js/lib/outbox.js");
PAGE_BYTES(client_pace, "clients/js/lib/pace.js");
PAGE_BYTES(client_place_store, "clients/js/lib/place_store.js");
PAGE_BYTES(client_poll_link, "clients/js/lib/poll_link.js");
PAGE_BYTES(client_requests, "clients/js/lib/requests.js");
PAGE_BYTES(client_roster, "clients/js/lib/roster.js");
PAGE_BYTES(client_servers, "clients/js/lib/servers.js");
PAGE_BYTES(client_sse_link, "clients/js/lib/sse_link.js");
PAGE_BYTES(client_subscription, "clients/js/lib/subscription.js");
PAGE_BYTES(client_websocket_link, "clients/js/lib/websocket_link.js");

#define PAGE(path, media, name)                                                                            \
    (struct api_page){ path, media, span_of(page_##name, (size_t)(page_##name##_end - page_##name)) }

enum { PAGE_COUNT = 24 };

#define SCRIPT(path, name) PAGE(path, "text/javascript; charset=utf-8", name)

size_t pages_get(const struct api_page **ret_pages)
{
    static struct api_page pages[PAGE_COUNT];

    if (pages[0].path == NULL) {
        const struct api_page filled[] = {
            PAGE("/", "text/html; charset=utf-8", index),
            PAGE("/demo.css", "text/css; charset=utf-8", style),
            PAGE("/icon.svg", "image/svg+xml", icon),
            PAGE("/v1/openapi.json", "application/json", openapi),
            SCRIPT("/demo.js", demo),
            SCRIPT("/longwire/index.js", client_index),
            SCRIPT("/longwire/lib/back_off.js", client_back_off),
            SCRIPT("/longwire/lib/bin.js", client_bin),
            SCRIPT("/longwire/lib/client.js", client_client),
            SCRIPT("/longwire/lib/emitter.js", client_emitter),
            SCRIPT("/longwire/lib/errors.js", client_errors),
            SCRIPT("/longwire/lib/event_stream.js", client_event_stream),
            SCRIPT("/longwire/lib/http.js", client_http),
            SCRIPT("/longwire/lib/link_places.js", client_link_places),
            SCRIPT("/longwire/lib/outbox.js", client_outbox),
            SCRIPT("/longwire/lib/pace.js", client_pace),
            SCRIPT("/longwire/lib/place_store.js", client_place_store),
            SCRIPT("/longwire/lib/poll_link.js", client_poll_link),
            SCRIPT("/longwire/lib/requests.js", client_requests),
            SCRIPT("/longwire/lib/roster.js", client_roster),
            SCRIPT("/longwire/lib/servers.js", client_servers),
            SCRIPT("/longwire/lib/sse_link.js", client_sse_link),
            SCRIPT("/longwire/lib/subscription.js", client_subscription),
            SCRIPT("/longwire/lib/websocket_link.js", client_websocket_link),
        };
        _Static_assert(sizeof filled / sizeof *filled == PAGE_COUNT, "each page stands once");
        memcpy(pages, filled, sizeof filled);
    }
    *ret_pages = pages;
    return PAGE_COUNT;
}
