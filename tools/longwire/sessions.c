/* sessions.c - `longwire sessions`: the sessions of a user, or all of them, page by page. */
#include "longwire/command.h"
#include "longwire/duration.h"
#include "longwire/http.h"
#include "longwire/print.h"

enum { SESSIONS_PAGE = 500 };

enum { SESSION_USER, SESSION_DEVICE, SESSION_ONLINE, SESSION_TRANSPORT, SESSION_NODE, SESSION_SINCE, SESSION_SEEN,
       SESSION_GENERATION, SESSION_FIELDS };

static const char *const session_names[SESSION_FIELDS + 1] = {
    [SESSION_USER] = "user",           [SESSION_DEVICE] = "device", [SESSION_ONLINE] = "online",
    [SESSION_TRANSPORT] = "transport", [SESSION_NODE] = "node",     [SESSION_SINCE] = "since",
    [SESSION_SEEN] = "seen",           [SESSION_GENERATION] = "generation",
    [SESSION_FIELDS] = "json",  /* the whole object; a field of templates alone */
};

struct sessions {
    const char    *user;     /* NULL: of all users */
    bool           is_of_online;
    uint64_t       limit;    /* 0: none */

    struct http    http;
    struct printer printer;
    struct buf     decoded, text;
    struct buf     next;     /* what the page before said; empty: the first page */
    uint64_t       count;
    bool           is_over;
    int            exit;
};

/* --- one session ------------------------------------------------------------------------------------------------- */

struct session_view {
    struct span  object;
    struct field at[SESSION_FIELDS];
    bool         is_tty;
};

static void session_put(const void *arg, int field, struct buf *buf)
{
    const struct session_view *view = arg;
    struct span                text = field == SESSION_FIELDS ? view->object : view->at[field].text;

    if (view->is_tty)
        put_visible(buf, text);
    else
        buf_put(buf, text);
}

static void session_put_moment(const struct session_view *view, int field, struct buf *buf)
{
    uint64_t ms = 0;

    moment_put_local(buf, field_u64(&view->at[field], &ms) ? ms : 0);
}

static bool is_true(const struct field *field)
{
    return field->is_there && span_eq(field->text, SPAN("true"));
}

/* The name, which can be long, stands last on a terminal and alone in a pipe. */
static void session_put_row(const struct session_view *view, struct buf *buf)
{
    bool is_online = is_true(&view->at[SESSION_ONLINE]);

    if (view->is_tty) {
        buf_putf(buf, "%-8s%-12.*s", is_online ? "online" : "away", SPAN_ARG(is_online ? view->at[SESSION_TRANSPORT].text : SPAN("-")));
        session_put_moment(view, SESSION_SEEN, buf);
        buf_put_lit(buf, "  ");
    }
    session_put(view, SESSION_USER, buf);
    buf_putc(buf, '/');
    session_put(view, SESSION_DEVICE, buf);
}

static bool sessions_on_element(void *arg, struct span element)
{
    struct sessions    *sessions = arg;
    struct printer     *printer  = &sessions->printer;
    struct session_view view     = { .object = element, .is_tty = printer->is_tty };

    if (sessions->limit != 0 && sessions->count == sessions->limit)
        return true;
    for (size_t i = 0; i < SESSION_FIELDS; i++)
        view.at[i].name = session_names[i];
    if (!fields_read(element, view.at, SESSION_FIELDS, &sessions->decoded) || !field_is_string(&view.at[SESSION_DEVICE]))
        return false;
    if (sessions->is_of_online && !is_true(&view.at[SESSION_ONLINE]))
        return true;
    if (sessions->user != NULL)
        view.at[SESSION_USER].text = span_str(sessions->user);
    sessions->count++;
    if (printer->format == FORMAT_JSON)
        buf_put(&sessions->text, element);
    else if (printer->format == FORMAT_TEMPLATE)
        template_put(&printer->template, session_put, &view, &sessions->text);
    else
        session_put_row(&view, &sessions->text);
    buf_putc(&sessions->text, '\n');
    return true;
}

/* --- one page ----------------------------------------------------------------------------------------------------- */

static void sessions_leave(struct sessions *sessions, int exit_code)
{
    sessions->is_over = true;
    sessions->exit    = exit_code;
}

static void sessions_put_path(const struct sessions *sessions, struct buf *path)
{
    if (sessions->user != NULL) {
        buf_put_lit(path, "/v1/users/");
        http_put_encoded(path, span_str(sessions->user));
    } else {
        buf_putf(path, "/v1/sessions?limit=%d%s", SESSIONS_PAGE, sessions->is_of_online ? "&online=1" : "");
    }
    if (sessions->next.len > 0) {
        buf_put_lit(path, "&next=");
        http_put_encoded(path, buf_span(&sessions->next));
    }
    buf_putc(path, '\0');
}

/* False: `body` is no page. */
static bool sessions_take_page(struct sessions *sessions, struct span body)
{
    struct field next = { .name = "next" };
    const char  *list = sessions->user != NULL ? "devices" : "sessions";

    if (!elements_each(body, list, sessions_on_element, sessions) || !fields_read(body, &next, 1, &sessions->decoded))
        return false;
    bool is_more = sessions->user == NULL && field_is_string(&next) && next.text.len > 0 &&
                   !span_eq(next.text, buf_span(&sessions->next));
    buf_clear(&sessions->next);
    if (is_more)
        buf_put(&sessions->next, next.text);
    if (!is_more || buf_is_over(&sessions->next) || (sessions->limit != 0 && sessions->count == sessions->limit))
        sessions_leave(sessions, EXIT_FINE);
    return true;
}

static void sessions_print(struct sessions *sessions)
{
    printer_write(&sessions->printer, buf_span(&sessions->text));
    buf_clear(&sessions->text);
    switch (printer_flush(&sessions->printer)) {
    case PRINTED: break;
    case PRINTED_CLOSED: sessions_leave(sessions, EXIT_FINE); break;
    case PRINTED_FAILED: sessions_leave(sessions, EXIT_REFUSED); break;
    }
}

static void sessions_page(struct sessions *sessions)
{
    struct http_answer answer;
    struct buf         path;

    buf_init(&path, HTTP_PATH_BYTES_MAX);
    sessions_put_path(sessions, &path);
    struct http_request request = { .method = "GET", .path = path.at, .accept = "application/json" };
    http_ask(&sessions->http, &request, &answer);
    if (answer.end == HTTP_DONE && http_is_2xx(&answer) && sessions_take_page(sessions, buf_span(&answer.body)))
        sessions_print(sessions);
    else
        sessions_leave(sessions, http_complain(&sessions->http, &answer));
    http_answer_fini(&answer);
    buf_fini(&path);
}

/* --- the command -------------------------------------------------------------------------------------------------- */

static bool sessions_option(void *arg, int option, const char *value)
{
    struct sessions *sessions = arg;

    switch (option) {
    case OPTION_COUNT: return cli_u64("--limit", value, &sessions->limit);
    case OPTION_ONLINE: sessions->is_of_online = true; return true;
    case OPTION_FORMAT: return printer_take_template(&sessions->printer, value, session_names, SESSION_FIELDS + 1);
    default: sessions->printer.format = FORMAT_JSON; return true;
    }
}

static int sessions_run(struct sessions *sessions, const struct target *target)
{
    http_init(&sessions->http, target, -1);
    if (sessions->printer.is_tty && sessions->printer.format == FORMAT_TEXT)
        printer_write(&sessions->printer, SPAN("IS      TRANSPORT   LAST SEEN                USER/DEVICE\n"));
    while (!sessions->is_over)
        sessions_page(sessions);
    http_fini(&sessions->http);
    return sessions->exit;
}

int command_sessions(struct invocation *invocation)
{
    struct sessions sessions = { .limit = 0 };

    printer_init(&sessions.printer);
    buf_init(&sessions.decoded, HTTP_BODY_BYTES_MAX);
    buf_init(&sessions.next, HTTP_CHANNEL_BYTES_MAX);
    buf_init(&sessions.text, (size_t)8 * HTTP_BODY_BYTES_MAX);
    if (invocation_read(invocation, sessions_option, &sessions)) {
        sessions.user    = invocation->word_count > 0 ? invocation->words[0] : NULL;
        invocation->exit = sessions_run(&sessions, &invocation->target);
    }
    buf_fini(&sessions.decoded);
    buf_fini(&sessions.next);
    buf_fini(&sessions.text);
    printer_fini(&sessions.printer);
    return invocation->exit;
}
