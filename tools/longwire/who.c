/* who.c - `longwire who`: a user's devices, whether they are there, how far each of them is, and what the user has read. */
#include "longwire/command.h"
#include "longwire/duration.h"
#include "longwire/http.h"
#include "longwire/print.h"

enum { WHO_PAGES_MAX = 40, WHO_BYTES_MAX = 16 * 1024 * 1024 };

enum { WHO_DEVICE, WHO_ONLINE, WHO_TRANSPORT, WHO_NODE, WHO_SINCE, WHO_SEEN, WHO_GENERATION, WHO_FIELDS };
enum { PLACE_DEVICE, PLACE_CHANNEL, PLACE_SEQ, PLACE_HEAD, PLACE_LEFT, PLACE_KEPT, PLACE_TIME, PLACE_FIELDS };

struct who {
    const char  *user;
    enum format  format;
    struct http  http;
    struct buf   decoded;
    struct buf   devices, marks;  /* text of each, as it is printed */
    struct buf   places;          /* a line a place: device, a 0 byte, text */
    struct buf   json;            /* the answers, a line each */
    size_t       device_count;
    bool         is_cut;          /* there is more than WHO_PAGES_MAX pages */
};

/* --- places ------------------------------------------------------------------------------------------------------- */

static void put_lag(struct buf *buf, const struct field *at)
{
    uint64_t seq = 0, head = 0, left = 0;
    bool     is_left = field_u64(&at[PLACE_LEFT], &left);

    (void)field_u64(&at[PLACE_SEQ], &seq);
    if (!field_u64(&at[PLACE_HEAD], &head)) {
        buf_putf(buf, "%llu of an earlier life of the channel", (unsigned long long)seq);
        return;
    }
    if (is_left)
        head = left;  /* what came later is not for this user */
    buf_putf(buf, "%llu of %llu", (unsigned long long)seq, (unsigned long long)head);
    if (head > seq)
        buf_putf(buf, ", %llu behind", (unsigned long long)(head - seq));
    if (is_left)
        buf_put_lit(buf, ", left");
}

static bool read_place(struct who *who, struct span element, struct field at[PLACE_FIELDS])
{
    static const char *const names[PLACE_FIELDS] = { "device", "channel", "seq", "head", "left", "kept", "time" };

    for (size_t i = 0; i < PLACE_FIELDS; i++)
        at[i] = (struct field){ .name = names[i] };
    return fields_read(element, at, PLACE_FIELDS, &who->decoded) && field_is_string(&at[PLACE_CHANNEL]);
}

static void put_place_line(struct buf *buf, const struct field *at)
{
    uint64_t time = 0;

    buf_put_lit(buf, "    ");
    put_visible(buf, at[PLACE_CHANNEL].text);
    buf_put_lit(buf, "  ");
    put_lag(buf, at);
    if (at[PLACE_KEPT].is_there && span_eq(at[PLACE_KEPT].text, SPAN("true")))
        buf_put_lit(buf, "  kept");
    buf_put_lit(buf, "  (");
    (void)field_u64(&at[PLACE_TIME], &time);
    moment_put_local(buf, time);
    buf_put_lit(buf, ")\n");
}

static bool on_place(void *arg, struct span element)
{
    struct who  *who = arg;
    struct field at[PLACE_FIELDS];

    if (!read_place(who, element, at) || !field_is_string(&at[PLACE_DEVICE]))
        return false;
    buf_put(&who->places, at[PLACE_DEVICE].text);
    buf_putc(&who->places, '\0');
    put_place_line(&who->places, at);
    return true;
}

static bool on_mark(void *arg, struct span element)
{
    struct who  *who = arg;
    struct field at[PLACE_FIELDS];

    if (!read_place(who, element, at))
        return false;
    put_place_line(&who->marks, at);
    return true;
}

/* The places of this device are to be printed here. */
static void put_places_of(struct who *who, struct span device)
{
    struct span rest = buf_span(&who->places), line;

    while (span_cut(&rest, '\n', &line)) {
        struct span whose;
        if (line.len == 0 || !span_cut(&line, '\0', &whose) || !span_eq(whose, device))
            continue;
        buf_put(&who->devices, line);
        buf_putc(&who->devices, '\n');
    }
}

/* --- devices ------------------------------------------------------------------------------------------------------ */

static void put_moment(struct buf *buf, const char *word, const struct field *field)
{
    uint64_t ms = 0;

    buf_putf(buf, "  %s ", word);
    (void)field_u64(field, &ms);
    moment_put_local(buf, ms);
}

static bool on_device(void *arg, struct span element)
{
    static const char *const names[WHO_FIELDS] = { "device", "online", "transport", "node", "since", "seen", "generation" };
    struct who              *who               = arg;
    struct field             at[WHO_FIELDS];

    for (size_t i = 0; i < WHO_FIELDS; i++)
        at[i] = (struct field){ .name = names[i] };
    if (!fields_read(element, at, WHO_FIELDS, &who->decoded) || !field_is_string(&at[WHO_DEVICE]))
        return false;
    bool is_online = at[WHO_ONLINE].is_there && span_eq(at[WHO_ONLINE].text, SPAN("true"));
    put_visible(&who->devices, at[WHO_DEVICE].text);
    buf_put(&who->devices, span_str(is_online ? "  online" : "  away"));
    if (is_online && field_is_string(&at[WHO_TRANSPORT])) {
        buf_put_lit(&who->devices, " by ");
        put_visible(&who->devices, at[WHO_TRANSPORT].text);
    }
    if (is_online && field_is_string(&at[WHO_NODE])) {
        buf_put_lit(&who->devices, " at ");
        put_visible(&who->devices, at[WHO_NODE].text);
    }
    put_moment(&who->devices, "last seen", &at[WHO_SEEN]);
    put_moment(&who->devices, "session since", &at[WHO_SINCE]);
    buf_put_lit(&who->devices, "  generation ");
    put_visible(&who->devices, at[WHO_GENERATION].text);
    buf_putc(&who->devices, '\n');
    put_places_of(who, at[WHO_DEVICE].text);
    who->device_count++;
    return true;
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* One page; *next holds where it begins, and then where the next one does. False: *ret_exit says how to leave. */
static bool who_page(struct who *who, const char *tail, const char *list, element_fn *fn, struct buf *next, int *ret_exit)
{
    struct field       more = { .name = "next" };
    struct http_answer answer;
    struct buf         path;

    buf_init(&path, HTTP_PATH_BYTES_MAX);
    buf_put_lit(&path, "/v1/users/");
    http_put_encoded(&path, span_str(who->user));
    buf_put(&path, span_str(tail));
    if (next->len > 0) {
        buf_put_lit(&path, "?after=");
        http_put_encoded(&path, buf_span(next));
    }
    buf_putc(&path, '\0');
    struct http_request request = { .method = "GET", .path = path.at, .accept = "application/json" };
    http_ask(&who->http, &request, &answer);
    struct span body = buf_span(&answer.body);
    *ret_exit        = EXIT_FINE;
    if (answer.end != HTTP_DONE || !http_is_2xx(&answer)) {
        *ret_exit = http_complain(&who->http, &answer);
    } else if (!elements_each(body, list, fn, who) || !fields_read(body, &more, 1, &who->decoded)) {
        say("the answer can't be understood: is this a Longwire server?");
        *ret_exit = EXIT_REFUSED;
    } else {
        buf_put(&who->json, span_trim(body));
        buf_putc(&who->json, '\n');
    }
    buf_clear(next);
    if (*ret_exit == EXIT_FINE && field_is_string(&more))
        buf_put(next, more.text);
    http_answer_fini(&answer);
    buf_fini(&path);
    return *ret_exit == EXIT_FINE;
}

static bool who_ask(struct who *who, const char *tail, const char *list, element_fn *fn, int *ret_exit)
{
    struct buf next;
    unsigned   pages = 0;
    bool       goes_on;

    buf_init(&next, HTTP_PATH_BYTES_MAX);
    do {
        goes_on = who_page(who, tail, list, fn, &next, ret_exit) && next.len > 0;
    } while (goes_on && ++pages < WHO_PAGES_MAX);
    who->is_cut |= goes_on;
    buf_fini(&next);
    return *ret_exit == EXIT_FINE;
}

static int who_print(struct who *who)
{
    if (who->format == FORMAT_JSON)
        return print_once(buf_span(&who->json));
    if (who->device_count == 0)
        buf_put_lit(&who->devices, "no device has a session\n");
    if (who->marks.len > 0) {
        buf_put_lit(&who->devices, "read\n");
        buf_put(&who->devices, buf_span(&who->marks));
    }
    if (who->is_cut)
        say("there are more channels than are printed here");
    return print_once(buf_span(&who->devices));
}

static bool who_option(void *arg, int option, const char *value)
{
    struct who *who = arg;

    if (option == OPTION_FORMAT)
        return format_parse(value, &who->format);
    who->format = FORMAT_JSON;
    return true;
}

int command_who(struct invocation *invocation)
{
    struct who who = { .format = FORMAT_TEXT };
    int        exit_code;

    if (!invocation_read(invocation, who_option, &who))
        return invocation->exit;
    who.user = invocation->words[0];
    http_init(&who.http, &invocation->target, -1);
    buf_init(&who.decoded, WHO_BYTES_MAX);
    buf_init(&who.devices, WHO_BYTES_MAX);
    buf_init(&who.marks, WHO_BYTES_MAX);
    buf_init(&who.places, WHO_BYTES_MAX);
    buf_init(&who.json, WHO_BYTES_MAX);
    /* The places first: they stand below their devices. */
    if (who_ask(&who, "/places", "places", on_place, &exit_code) && who_ask(&who, "", "devices", on_device, &exit_code) &&
        who_ask(&who, "/marks", "marks", on_mark, &exit_code))
        exit_code = who_print(&who);
    buf_fini(&who.decoded);
    buf_fini(&who.devices);
    buf_fini(&who.marks);
    buf_fini(&who.places);
    buf_fini(&who.json);
    http_fini(&who.http);
    return exit_code;
}
