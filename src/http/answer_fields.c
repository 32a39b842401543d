/* answer_fields.c - the fields of an answer that every version of HTTP sends. */
#include <time.h>

#include "base/must.h"
#include "http/cors.h"

static bool has_field(struct http_fields fields, struct span name)
{
    for (size_t i = 0; i < fields.count; i++)
        if (span_eq_nocase(fields.at[i].name, name))
            return true;
    return false;
}

size_t answer_fields(const struct http_exchange *exchange, const struct http_answer *answer,
                     struct http_field ret[static ANSWER_FIELDS_MAX])
{
    size_t count = cors_fields(exchange, ret);

    /* An answer is of its moment, and of its sender: no cache may give it to the next one (RFC 9111 5.2.2.5). Only a
     * service that says otherwise has something to keep. */
    if (!has_field(answer->fields, SPAN("Cache-Control")))
        ret[count++] = (struct http_field){ SPAN("Cache-Control"), SPAN("no-store") };
    if (answer->media.len > 0)
        ret[count++] = (struct http_field){ SPAN("Content-Type"), answer->media };
    must(count + answer->fields.count <= ANSWER_FIELDS_MAX);
    for (size_t i = 0; i < answer->fields.count; i++)
        ret[count++] = answer->fields.at[i];
    return count;
}

bool field_is_one_line(struct span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] == '\r' || text.at[i] == '\n')
            return false;
    return true;
}

struct span http_date(struct http_server *server)
{
    msec second = server->loop->wall / 1000;

    if (second != server->date_at || server->date[0] == '\0') {
        time_t    at = (time_t)second;
        struct tm parts;
        gmtime_r(&at, &parts);
        strftime(server->date, sizeof server->date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
        server->date_at = second;
    }
    return span_str(server->date);
}

bool http_status_has_body(unsigned status)
{
    return status != 204 && status != 304;  /* RFC 9110 6.4.1 */
}
