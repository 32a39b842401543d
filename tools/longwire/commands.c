/* commands.c - the table itself. */
#include "longwire/command.h"

#define CHOICES_FORMAT "text json"

#define OPT_FORMAT                                                                                                    \
    { OPTION_FORMAT, "format", "F", "FORMAT", CHOICES_FORMAT,                                                         \
      "how each message is printed: `text` (the default), `json`, or a template such as `'{seq} {date} {data}'`; "    \
      "see below" }
#define OPT_JSON { OPTION_JSON, "json", "j", NULL, NULL, "the same as `--format json`" }
#define OPT_TIMEOUT                                                                                                   \
    { OPTION_TIMEOUT, "timeout", "W", "TIME", NULL, "give up after this time; see Times below" }
#define OPT_RETRY { OPTION_RETRY, "retry", "", NULL, NULL, "wait for a server that cannot be reached, too" }
#define OPT_END { 0, NULL, "", NULL, NULL, NULL }

#define TEXT_TIMES                                                                                                    \
    "A length of time is a number of seconds, or numbers with units: `ms`, `s`, `m`, `h`, `d`, `w`, for instance "    \
    "`90`, `1.5`, `300ms`, `5m`, `1h30m`, `7d`."
#define SECTION_TIMES { "Times", TEXT_TIMES }
#define SECTION_MOMENTS                                                                                               \
    { "Times",                                                                                                        \
      TEXT_TIMES " Where a moment is meant, it is so long ago. `2026-11-28`, `'2026-11-28 13:05'` and "                \
                 "`2026-11-28T13:05:09` are local time, with a `Z` at their end UTC. `@1795297177831` is ms since "   \
                 "1970." }

#define SECTION_FIELDS                                                                                                \
    "A template is text with fields; each message becomes one line. `{seq}`, `{channel}`, `{epoch}`, `{id}`, "        \
    "`{time}` (ms since 1970), `{from}`, `{event}`, `{media}` and `{cursor}` are the members that the server sent. "  \
    "`{data}` is the payload, `{base64}` the same in base64, `{size}` its number of bytes. `{date}` is the time as "  \
    "a local date, `{utc}` as RFC 3339. `{json}` is the whole object. Write `{{` and `}}` for braces, `\\t`, "        \
    "`\\n`, `\\0`, `\\\\`."

#define SECTION_FORMATS                                                                                               \
    { "Formats",                                                                                                      \
      "`text` on a terminal: `channel  seq  date time  data`, in local time, with control characters as `\\xNN`. "    \
      "Into a pipe or file: the bytes of each message and a newline, nothing else; when several channels are "        \
      "named, "                                                                                                       \
      "the channel and a tab stand before them. Gaps, recalls and control messages (such as memberships) are "    \
      "said on standard error.\n\n"                                                                                   \
      "`json`: each of them as one line, as the server sent it. Use it where messages may hold "                      \
      "newlines.\n\n" SECTION_FIELDS }

const struct tool_option common_options[] = {
    { OPTION_SERVER, "server", "s", "SERVER", NULL,
      "the server: `HOST`, `HOST:PORT` or a URL (LONGWIRE_SERVER; http://127.0.0.1:8080). Without a scheme it is "
      "http, and the port is 8080 unless it is given. Several with commas: the next is asked where one can't be reached, or answers 503. "
      "`lw://HOST:PORT`: sub, pub, request and proxy over the native protocol, see sub" },
    { OPTION_KEY, "key", "k", "SECRET", NULL,
      "API key, sent as bearer token (LONGWIRE_KEY; better there, since others on the machine can see command "
      "lines)" },
    { OPTION_TOKEN, "token", "", "TOKEN", NULL, "a user's token (JWT), instead of an API key" },
    { OPTION_VERBOSE, "verbose", "v", NULL, NULL, "say on standard error what is asked and answered, without secrets" },
    { OPTION_HELP, "help", "h", NULL, NULL, "print help" },
    { OPTION_VERSION, "version", "V", NULL, NULL, "print the version" },
    OPT_END,
};

/* --- sub -------------------------------------------------------------------------------------------------------- */

static const struct tool_option sub_options[] = {
    { OPTION_AFTER, "after", "", "N", NULL, "begin behind message N of each channel; 0: with the first that is kept" },
    { OPTION_LAST, "last", "", "N", NULL, "begin with the last N messages of each channel" },
    { OPTION_SINCE, "since", "", "TIME", NULL,
      "begin with the first message of this time or later: `1h` ago, or a date; see Times below" },
    { OPTION_CURSOR, "cursor", "", "TOKEN", NULL,
      "begin at this place (each JSON object carries the one behind it); beside the same CHANNELs, which may be left out "
      "if they are few" },
    { OPTION_COUNT, "count", "nC", "N", NULL, "leave after N messages (gaps and recalls don't count)" },
    OPT_FORMAT,
    OPT_JSON,
    { OPTION_TIMEOUT, "timeout", "W", "TIME", NULL, "leave after this time; see Times below" },
    { OPTION_ONCE, "once", "", NULL, NULL, "leave when the link is lost, do not reconnect" },
    { OPTION_SESSION, "session", "", NULL, NULL,
      "native: keep a session, which follows the user's own channels by itself and knows what this device has" },
    { OPTION_TICKET_FILE, "ticket-file", "", "FILE", CHOICES_FILE,
      "native, with `--session`: keep the ticket here, and come back with it, as the user of `--token`; without one as the user who it was given to" },
    { OPTION_USER, "user", "", "NAME", NULL, "native: who this is, for a server without keys and issuers" },
    { OPTION_DEVICE, "device", "", "NAME", NULL, "native: the name of this device" },
    { OPTION_MODE, "mode", "", "MODE", "push notify",
      "native: `push` messages (the default), or `notify` only that there are some" },
    { OPTION_RETRY, "retry", "", NULL, NULL, "wait for a server that cannot be reached at the start, too" },
    { OPTION_SILENCE, "silence", "", "TIME", NULL,
      "take the link for dead after this time without a byte; the server sends a heartbeat at least every 25 "
      "seconds (default 60)" },
    OPT_END,
};

static const struct tool_section sub_sections[] = {
    SECTION_FORMATS,
    { "Native protocol",
      "With `--server lw://HOST:7400` (or `tcp://`; over TLS `lws://` or `tls://`) the channels are followed over the "
      "native protocol, by the client library `liblongwire`. The link is kept with heartbeats, and `--since`, "
      "`--cursor` and `--silence` don't exist there. With `--session` CHANNELs may be left out: the session follows "
      "the user's own ones. A message is acknowledged when it is printed, so that each run goes on where the last "
      "one ended." },
    SECTION_MOMENTS,
    { "Names", "A channel is followed by its whole name. There are no wildcards: `topic:*` is a name like any other." },
    { "Leaving",
      "Ctrl-C and SIGTERM are a usual way to leave: status 0. So are `--timeout` without `--count`, and a reader "
      "of the output that goes away. `--once` ends with 2 unless `--count` was reached." },
    { NULL, NULL },
};

static const char *const sub_examples[] = {
    "longwire sub topic:prices",
    "longwire sub topic:prices user:alice --last 10",
    "longwire sub topic:orders --after 0 --json | jq .data",
    "longwire sub topic:orders --since 1h",
    "longwire sub topic:prices -F '{date} {seq} {data}'",
    "longwire sub topic:done -n 1 --timeout 30 && echo it came",
    "longwire sub -s lw://127.0.0.1 --session --user ann --ticket-file ~/.ann",
    NULL,
};

/* --- pub -------------------------------------------------------------------------------------------------------- */

static const struct tool_option pub_options[] = {
    { OPTION_FILE, "file", "f", "FILE", CHOICES_FILE,
      "publish what is in FILE as one message; `-`: all of standard input" },
    { OPTION_MEDIA, "media", "", "TYPE", "application/json text/plain text/html application/octet-stream",
      "media type of the messages, for instance application/json; without it text/plain if they are UTF-8, else "
      "application/octet-stream" },
    { OPTION_EVENT, "event", "e", "NAME", NULL,
      "name of an event, which raw event streams give as `event:` (EventSource, htmx, Turbo)" },
    { OPTION_TTL, "ttl", "", "TIME", NULL, "they expire after this time, in whole seconds; see Times below" },
    { OPTION_KEY_ID, "key-id", "", "KEY", NULL,
      "the idempotency key; for lines KEY-1, KEY-2 ..., so that the same input can be sent again and only what is "
      "missing is published (default: random)" },
    { OPTION_RATE, "rate", "", "N", NULL, "at most N messages a second (also written N/s)" },
    { OPTION_COLLAPSE_KEY, "collapse-key", "", "KEY", NULL,
      "a later message of the channel with the same key replaces these for readers that are behind: the latest score, the latest position" },
    { OPTION_PRIORITY, "priority", "", "PRIORITY", "now beat",
      "`beat`: they wake nobody, and go along with the next heartbeat of each link, or with what can't wait (default `now`)" },
    OPT_RETRY,
    OPT_TIMEOUT,
    { OPTION_JSON, "json", "j", NULL, NULL, "print each acknowledgement as JSON, as the server sent it" },
    { OPTION_COUNT_ONLY, "count-only", "", NULL, NULL, "print only how many were published, at the end" },
    { OPTION_QUIET, "quiet", "q", NULL, NULL, "print nothing but errors" },
    OPT_END,
};

static const struct tool_section pub_sections[] = {
    { "Repeats",
      "When the server is busy or full for now (429, 503, 507) the same message is tried again, as late as the "
      "server asks for. Each message carries an idempotency key, so nothing is doubled. Should it put off single "
      "lines of a batch, those come behind the others of that batch.\n\n"
      "A message the server refuses ends the command with status 1; of lines that were sent along with it in one "
      "batch some may be published all the same: they are printed." },
    SECTION_TIMES,
    { NULL, NULL },
};

static const char *const pub_examples[] = {
    "longwire pub topic:hello 'Hello, world'",
    "longwire pub topic:prices '{\"eur\":1.09}' --media application/json --ttl 5m",
    "longwire pub topic:score 2:1 --collapse-key score --priority beat",
    "longwire pub topic:pictures -f cat.png --media image/png",
    "tail -f app.log | longwire pub topic:log -q",
    "seq 1000 | longwire pub topic:numbers --rate 100/s --count-only",
    NULL,
};

/* --- request ---------------------------------------------------------------------------------------------------- */

static const struct tool_option request_options[] = {
    { OPTION_HEADER, "header", "H", "HEADER", NULL,
      "`'Name: value'`, perhaps several; the server passes on those that its route names, and Content-Type" },
    { OPTION_DATA, "data", "d", "DATA", NULL, "the body, as it stands here" },
    { OPTION_FILE, "file", "fT", "FILE", CHOICES_FILE, "the body is what is in FILE; `-`: all of standard input" },
    { OPTION_ID, "id", "", "ID", NULL,
      "the id of the request: with the same id the back end is not called again, and the answer that it has given comes again "
      "(default: random)" },
    { OPTION_INCLUDE, "include", "i", NULL, NULL, "print status and headers before the body" },
    { OPTION_USER, "user", "", "NAME", NULL, "who this is, for a server without keys and issuers" },
    { OPTION_DEVICE, "device", "", "NAME", NULL, "the name of this device, beside `--user` (default longwire); a token names its device itself" },
    OPT_RETRY,
    OPT_TIMEOUT,
    OPT_END,
};

static const struct tool_section request_sections[] = {
    { "Answers",
      "The body of the answer goes to standard output. Status 0: the back end has answered with 2xx or 3xx. 1: with another status, "
      "which is said on standard error, or the server has refused the request." },
    { "Lost links",
      "Once the server may have the request, it is sent again with its id until the answer is there: after a lost link, when "
      "nothing came for long, and when the server puts it off (429, 503, 507). Without `--timeout` that has no end. By its id the server "
      "knows it, so the back end is called once (or as its route says). That needs a device: a token that names one, or `--user`. "
      "Without one the answer is lost with the link, and the status is 2." },
    { "Native protocol",
      "With `--server lw://HOST:7400` the request goes over the native protocol; else by `POST /v1/request`." },
    SECTION_TIMES,
    { NULL, NULL },
};

static const char *const request_examples[] = {
    "longwire request GET /hello --user ann",
    "longwire request POST /orders -H 'Content-Type: application/json' -d '{\"n\":1}' --user ann -i",
    "longwire request PUT /photos/1 -T photo.jpg --id photo-1 --token \"$TOKEN\"",
    "longwire request GET /hello -s lw://127.0.0.1 --user ann --timeout 30",
    NULL,
};

/* --- proxy ------------------------------------------------------------------------------------------------------ */

static const struct tool_option proxy_options[] = {
    { OPTION_LISTEN, "listen", "", "ADDRESS:PORT", NULL,
      "where local programs find it (default 127.0.0.1:8000); port 0: any that is free, which is said" },
    { OPTION_USER, "user", "", "NAME", NULL, "who this is, for a server without keys and issuers" },
    { OPTION_DEVICE, "device", "", "NAME", NULL, "the name of this device, beside `--user` (default proxy); a token names its device itself" },
    { OPTION_TIMEOUT, "timeout", "W", "TIME", NULL, "answer a request with 504 after this time; see Times below" },
    OPT_END,
};

static const struct tool_section proxy_sections[] = {
    { "Requests",
      "A program asks `http://127.0.0.1:8000/PATH`, or takes the address for its HTTP proxy. The request goes to the back end by the "
      "routes of the server; the host that the program names does not matter. Where the link to the server is lost, the program waits "
      "until it is back, if the token names a device; else it is answered 504. Where the program goes away, its request is cancelled. An `Idempotency-Key` becomes the id of the request, so a "
      "program that repeats one with its key gets the answer that it has had." },
    { "Limits",
      "256 connections, one request at a time on each; bodies of 16 MiB, heads of 32 KiB with 32 header fields that are passed on. No "
      "WebSocket, no CONNECT. What the server refuses is answered with its status and a problem (RFC 9457)." },
    SECTION_TIMES,
    { NULL, NULL },
};

static const char *const proxy_examples[] = {
    "longwire proxy --listen 127.0.0.1:8000 -s lw://push.example:7400 --token \"$TOKEN\"",
    "curl http://127.0.0.1:8000/hello",
    NULL,
};

/* --- history ---------------------------------------------------------------------------------------------------- */

static const struct tool_option history_options[] = {
    { OPTION_AFTER, "after", "", "N", NULL, "those behind message N; 0: from the first that is kept" },
    { OPTION_BEFORE, "before", "", "N", NULL, "the last ones before message N" },
    { OPTION_SINCE, "since", "", "TIME", NULL,
      "all that are of this time or later: `1h` ago, or a date; see Times below" },
    { OPTION_UNTIL, "until", "", "TIME", NULL, "beside any of these: none that is later than this" },
    { OPTION_COUNT, "limit", "nC", "N", NULL, "at most N (default 100, at most 1000 unless `--all` or `--since`)" },
    { OPTION_ALL, "all", "", NULL, NULL, "all of them; with `--after` or `--before` all on that side" },
    OPT_FORMAT,
    OPT_JSON,
    OPT_END,
};

static const struct tool_section history_sections[] = {
    SECTION_FORMATS,
    SECTION_MOMENTS,
    { NULL, NULL },
};

static const char *const history_examples[] = {
    "longwire history topic:prices",
    "longwire history topic:prices --before 1000 -n 20",
    "longwire history topic:prices --since 1h -F '{date} {data}'",
    "longwire history topic:prices --since 2026-11-28 --until '2026-11-28 12:00'",
    "longwire history topic:orders --all --json > orders.ndjson",
    NULL,
};

/* --- info, recall ----------------------------------------------------------------------------------------------- */

static const struct tool_option info_options[] = {
    { OPTION_ALIVE, "alive", "", NULL, NULL,
      "ask only whether the server lives, not whether it is ready to serve: for what restarts a process that hangs" },
    { OPTION_FORMAT, "format", "F", "FORMAT", CHOICES_FORMAT, "how it is printed: `text` (the default), or `json`, "
      "the answer as it came" },
    OPT_JSON,
    OPT_END,
};

static const struct tool_section info_sections[] = {
    { "Exit status", "1 also if the server lives but is not ready, or if the channel was never used." },
    { NULL, NULL },
};

static const char *const info_examples[] = {
    "longwire info",
    "longwire info --alive",
    "longwire info topic:prices",
    "longwire info topic:prices --json | jq .head",
    NULL,
};

/* --- who -------------------------------------------------------------------------------------------------------- */

static const struct tool_option who_options[] = {
    { OPTION_FORMAT, "format", "F", "FORMAT", CHOICES_FORMAT, "how it is printed: `text` (the default), or `json`, "
      "the server's answers as they came, a line each" },
    OPT_JSON,
    OPT_END,
};

static const char *const who_examples[] = {
    "longwire who ann",
    "longwire who ann --json | jq -c '.places[]?'",
    NULL,
};

/* --- channels, purge -------------------------------------------------------------------------------------------- */

static const struct tool_option channels_options[] = {
    { OPTION_COUNT, "limit", "nC", "N", NULL, "at most N channels (default: all)" },
    { OPTION_FORMAT, "format", "F", "FORMAT", CHOICES_FORMAT,
      "how each channel is printed: `text` (the default), `json`, or a template such as `'{channel} {head}'`; see "
      "below" },
    OPT_JSON,
    OPT_END,
};

static const struct tool_section channels_sections[] = {
    { "Formats",
      "`text` on a terminal: head, first kept message, bytes, subscribers and name. Into a pipe or file: the "
      "names, one a line. `json`: each channel as one line, as the server sent it. The fields of a template are "
      "`{channel}`, `{epoch}`, `{first}`, `{head}`, `{bytes}`, `{subscribers}` and `{json}`." },
    { NULL, NULL },
};

static const char *const channels_examples[] = {
    "longwire channels",
    "longwire channels topic:news/ -F '{channel} {head}'",
    NULL,
};

static const struct tool_option purge_options[] = {
    { OPTION_YES, "yes", "y", NULL, NULL, "do it without being asked; a terminal needs it" },
    OPT_END,
};

static const char *const purge_examples[] = {
    "longwire purge topic:test --yes",
    NULL,
};

static const struct tool_option  no_options[]  = { OPT_END };
static const struct tool_section no_sections[] = { { NULL, NULL } };

static const char *const recall_examples[] = {
    "longwire recall topic:prices 42",
    NULL,
};

/* --- why, sessions ---------------------------------------------------------------------------------------------- */

static const struct tool_option why_options[] = {
    { OPTION_FORMAT, "format", "F", "FORMAT", CHOICES_FORMAT, "how it is printed: `text` (the default), or `json`, "
      "the answer as it came" },
    OPT_JSON,
    OPT_END,
};

static const char *const why_examples[] = {
    "longwire why user:ann 42 ann/phone",
    "longwire why group:lobby 7 bob/tablet --json | jq .state",
    NULL,
};

static const struct tool_option sessions_options[] = {
    { OPTION_ONLINE, "online", "", NULL, NULL, "only those of devices that are there now" },
    { OPTION_COUNT, "limit", "nC", "N", NULL, "at most N sessions (default: all)" },
    { OPTION_FORMAT, "format", "F", "FORMAT", CHOICES_FORMAT,
      "how each session is printed: `text` (the default), `json`, or a template such as `'{user}/{device} {transport}'`; see "
      "below" },
    OPT_JSON,
    OPT_END,
};

static const struct tool_section sessions_sections[] = {
    { "Formats",
      "`text` on a terminal: whether the device is there, over which transport, when a link of it last began or ended, and its "
      "name, USER/DEVICE. Into a pipe or file: the names, one a line. `json`: each session as one line, as the server sent it. "
      "The fields of a template are `{user}`, `{device}`, `{online}`, `{transport}`, `{node}`, `{since}`, `{seen}`, "
      "`{generation}` and `{json}`." },
    { NULL, NULL },
};

static const char *const sessions_examples[] = {
    "longwire sessions ann",
    "longwire sessions --online -F '{user}/{device} {transport}'",
    NULL,
};

/* --- nodes, top ------------------------------------------------------------------------------------------------- */

static const struct tool_option nodes_options[] = {
    { OPTION_FORMAT, "format", "F", "FORMAT", CHOICES_FORMAT,
      "how each node is printed: `text` (the default), `json`, or a template such as `'{node} {state}'`; see below" },
    OPT_JSON,
    OPT_END,
};

static const struct tool_section nodes_sections[] = {
    { "Formats",
      "`text`: a table. `json`: each node as one line, as the server sent it. The fields of a template are `{node}`, `{state}` "
      "(`up`, `draining`, or `lost`: its lease has run out), `{region}`, `{roles}`, `{connections}`, `{capacity}`, `{version}`, "
      "`{incarnation}`, `{seen}` and `{json}`." },
    { NULL, NULL },
};

static const char *const nodes_examples[] = {
    "longwire nodes",
    "longwire nodes -F '{node} {state} {connections}'",
    NULL,
};

/* --- backlog, dead ------------------------------------------------------------------------------------------------ */

static const struct tool_option backlog_options[] = {
    { OPTION_FORMAT, "format", "F", "FORMAT", CHOICES_FORMAT,
      "how each forwarder is printed: `text` (the default), `json`, or a template such as `'{forwarder} {backlog}'`; see below" },
    OPT_JSON,
    OPT_END,
};

static const struct tool_section backlog_sections[] = {
    { "Formats",
      "`text`: a table; `AGE` is that of the oldest message that waits. `json`: each forwarder as one line, as the server sent it. The fields "
      "of a template are `{forwarder}`, `{node}`, `{backlog}`, `{oldest}` (ms since 1970; 0: nothing waits), `{under_way}`, `{parts}`, "
      "`{channels}`, `{paused_until}`, `{batches}`, `{messages}`, `{retries}`, `{refusals}`, `{dead}` and `{json}`." },
    { NULL, NULL },
};

static const char *const backlog_examples[] = {
    "longwire backlog",
    "longwire backlog -F '{forwarder} {node} {backlog}'",
    NULL,
};

static const struct tool_option dead_options[] = {
    { OPTION_ALL, "all", "", NULL, NULL, "retry: all of them" },
    { OPTION_JSON, "json", "j", NULL, NULL, "list: each as one line, as it stands in `sys:dead`" },
    OPT_END,
};

static const char *const dead_examples[] = {
    "longwire dead list",
    "longwire dead retry 17 18",
    "longwire dead retry --all",
    NULL,
};

static const struct tool_option top_options[] = {
    { OPTION_INTERVAL, "interval", "", "TIME", NULL, "a table each so often (default 2s, at least 100ms); see Times below" },
    { OPTION_COUNT, "count", "nC", "N", NULL, "leave after N tables" },
    { OPTION_JSON, "json", "j", NULL, NULL, "print each node as one JSON object a round" },
    OPT_END,
};

static const struct tool_section top_sections[] = {
    { "Columns",
      "`CLIENTS`: links and polls that follow channels. `PUBL/S`: messages that were stored by way of this node. `DELIV/S`: messages "
      "handed to its clients. `HEARD/S`: messages, and heads in place of messages, that came from other nodes. `HOLES`: how often frames of other nodes were "
      "missing since the node's start; each time what was missing was read from the log. `WAITING`: publishes that wait for the store. "
      "`LAGGING`: readers whose connection takes no more for now. `-`: the node does not answer, or nobody says where it is: a "
      "node is asked at the address that `advertise` names." },
    { "Many nodes",
      "A terminal with too few lines shows as many nodes as it has room for, first those that are not `up`, and says how many are left out. "
      "In a pipe or file all are shown." },
    SECTION_TIMES,
    { NULL, NULL },
};

static const char *const top_examples[] = {
    "longwire top",
    "longwire top -n 2 | less",
    "longwire top -n 1 --json | jq .delivered_per_s",
    NULL,
};

/* --- token ------------------------------------------------------------------------------------------------------ */

static const struct tool_option token_options[] = {
    { OPTION_USER, "user", "", "NAME", NULL, "whose token it is (`sub`)" },
    { OPTION_DEVICE, "device", "", "NAME", NULL, "the user's device" },
    { OPTION_SECRET_FILE, "secret-file", "", "FILE", CHOICES_FILE,
      "the file of the secret that a `[jwt NAME]` section of the server names too" },
    { OPTION_EXPIRES, "expires", "", "TIME", NULL, "how long it is good for (default: 1h); see Times below" },
    { OPTION_GRANT, "grant", "", "PATTERN=RIGHTS", NULL,
      "what its user may do beside the defaults: `subscribe`, `publish`, `history`, `presence`, with commas between; as "
      "often as there are patterns" },
    { OPTION_ISSUER, "issuer", "", "TEXT", NULL, "who issues it (`iss`), if the section says `issuer`" },
    { OPTION_AUDIENCE, "audience", "", "TEXT", NULL, "whom it is for (`aud`), if the section says `audience`" },
    { OPTION_JTI, "jti", "", "TEXT", NULL, "its id, by which it can be revoked" },
    OPT_END,
};

static const struct tool_section token_sections[] = { SECTION_TIMES, { NULL, NULL } };

static const char *const token_examples[] = {
    "longwire token --user ann --secret-file jwt.secret --expires 1h --grant 'topic:*=subscribe,publish'",
    "longwire sub user:ann --token $(longwire token --user ann --secret-file jwt.secret)",
    NULL,
};

static const char *const store_examples[] = {
    "longwire store copy /var/lib/longwire postgres://longwire@db1/push",
    NULL,
};

/* --- completion, man, help -------------------------------------------------------------------------------------- */

static const char *const completion_examples[] = {
    "source <(longwire completion bash)",
    "longwire completion zsh > ~/.zfunc/_longwire",
    "longwire completion fish > ~/.config/fish/completions/longwire.fish",
    NULL,
};

static const struct tool_option man_options[] = {
    { OPTION_MARKDOWN, "markdown", "", NULL, NULL, "print the reference of docs/command-line.md instead" },
    OPT_END,
};

static const char *const man_examples[] = {
    "longwire man | man -l -",
    NULL,
};

static const char *const help_examples[] = {
    "longwire help sub",
    NULL,
};

/* --- all of them ------------------------------------------------------------------------------------------------ */

static const struct tool_command sub = {
    .name = "sub", .usage = "CHANNEL...", .run = command_sub,
    .summary = "follow channels, print each message as it comes",
    .about = "Without `--after`, `--last`, `--since` or `--cursor` a channel is followed from now on. When the "
             "link is lost it is taken up again where it was: no message is missed, none comes twice. What the "
             "server no longer has is said as a gap.",
    .options = sub_options, .sections = sub_sections, .examples = sub_examples, .is_native = true,
    .words_min = 0, .words_max = SIZE_MAX,
};

static const struct tool_command pub = {
    .name = "pub", .usage = "CHANNEL [DATA|-]", .run = command_pub,
    .summary = "publish a message, or each line of standard input",
    .about = "DATA is one message. With `-` or without DATA each line of standard input is a message (any bytes, "
             "the newline left out), sent as soon as it is there; lines that pile up are sent in batches, in "
             "order. With `--file -` all of standard input is one message. A message is acknowledged once it is "
             "safe; then one line is printed: `channel seq id`.",
    .options = pub_options, .sections = pub_sections, .examples = pub_examples, .is_native = true,
    .words_min = 1, .words_max = SIZE_MAX,
    .words_ask = "which channel? For instance: longwire pub topic:hello 'Hello, world'",
};

static const struct tool_command request = {
    .name = "request", .usage = "METHOD PATH", .run = command_request, .is_native = true,
    .summary = "ask a back end of the application, through the server",
    .about = "The server's `[uplink]` sections say which back end takes METHOD and PATH. It gets an ordinary HTTP request, and what it "
             "answers is printed, whatever becomes of the link meanwhile.",
    .options = request_options, .sections = request_sections, .examples = request_examples,
    .choices = "GET POST PUT PATCH DELETE",
    .words_min = 2, .words_max = 2, .words_ask = "what, and where? For instance: longwire request GET /hello",
};

static const struct tool_command proxy = {
    .name = "proxy", .usage = "", .run = command_proxy, .is_native = true,
    .summary = "carry HTTP requests of local programs over one long link",
    .about = "Programs on this machine speak plain HTTP/1.1 with it. Their requests become requests over one link of the native protocol, "
             "and wait for their answers through its losses. Ctrl-C ends it.",
    .options = proxy_options, .sections = proxy_sections, .examples = proxy_examples,
    .words_min = 0, .words_max = 0, .words_ask = "longwire proxy takes no words, only options",
};

static const struct tool_command history = {
    .name = "history", .usage = "CHANNEL", .run = command_history,
    .summary = "print what a channel keeps, oldest first",
    .about = "Without `--after`, `--before`, `--since` or `--all`: the newest 100 messages.",
    .options = history_options, .sections = history_sections, .examples = history_examples,
    .words_min = 1, .words_max = 1, .words_ask = "one channel, please. For instance: longwire history topic:prices",
};

static const struct tool_command info = {
    .name = "info", .usage = "[CHANNEL]", .run = command_info,
    .summary = "how the server is, or a channel",
    .about = "Without CHANNEL: whether the server lives and is ready to serve, and what it says of itself (version "
             "and so on). With CHANNEL: the channel's head, first kept message, epoch, subscribers, bytes. One "
             "`name value` a line.",
    .options = info_options, .sections = info_sections, .examples = info_examples,
    .words_min = 0, .words_max = 1, .words_ask = "one channel at most. For instance: longwire info topic:prices",
};

static const struct tool_command recall = {
    .name = "recall", .usage = "CHANNEL SEQ", .run = command_recall,
    .summary = "take a message back",
    .about = "Its place in the log remains, its data is gone. Those who follow the channel are told, so that they "
             "can remove what they show.",
    .options = no_options, .sections = no_sections, .examples = recall_examples,
    .words_min = 2, .words_max = 2,
    .words_ask = "which channel, and which message? For instance: longwire recall topic:prices 42",
};

static const struct tool_command channels = {
    .name = "channels", .usage = "[PREFIX]", .run = command_channels,
    .summary = "list channels, by name",
    .about = "All that were ever used, or those whose name begins with PREFIX, for instance `topic:` or `user:a`. "
             "Needs the right `admin` once the server has keys.",
    .options = channels_options, .sections = channels_sections, .examples = channels_examples,
    .words_min = 0, .words_max = 1, .words_ask = "one prefix at most. For instance: longwire channels topic:",
};

static const struct tool_command purge = {
    .name = "purge", .usage = "CHANNEL", .run = command_purge,
    .summary = "remove all messages of a channel",
    .about = "The channel goes on behind them: its numbers are not given again. Those who follow it are told by a "
             "gap. There is no way back.",
    .options = purge_options, .sections = no_sections, .examples = purge_examples,
    .words_min = 1, .words_max = 1, .words_ask = "which channel? For instance: longwire purge topic:test --yes",
};

static const struct tool_command why = {
    .name = "why", .usage = "CHANNEL SEQ USER/DEVICE", .run = command_why,
    .summary = "what became of a message for one device",
    .about = "What the server knows of the message and the device, a line each, in the order of time: when the message was "
             "stored, whether the device was connected, whether the message was written to its link, how far the device has "
             "acknowledged. What the server does not know is not said. Needs the right `subscribe` once the server has keys.",
    .options = why_options, .sections = no_sections, .examples = why_examples,
    .words_min = 3, .words_max = 3,
    .words_ask = "which channel, message and device? For instance: longwire why user:ann 42 ann/phone",
};

static const struct tool_command sessions = {
    .name = "sessions", .usage = "[USER]", .run = command_sessions,
    .summary = "list the sessions of a user's devices, or of all users",
    .about = "A session is what the server keeps for a device: what it follows, and how far it has acknowledged. Of all users: "
             "needs the right `admin` once the server has keys; of one user: `subscribe`.",
    .options = sessions_options, .sections = sessions_sections, .examples = sessions_examples,
    .words_min = 0, .words_max = 1, .words_ask = "one user at most. For instance: longwire sessions ann",
};

static const struct tool_command nodes = {
    .name = "nodes", .usage = "", .run = command_nodes,
    .summary = "list the nodes of the cluster",
    .about = "As the server that is asked knows them: which are up, draining or lost, how many connections each has and how many it is "
             "meant for, when it was heard of last. Needs the right `admin` once the server has keys.",
    .options = nodes_options, .sections = nodes_sections, .examples = nodes_examples,
    .words_min = 0, .words_max = 0, .words_ask = "longwire nodes takes no words, only options",
};

static const struct tool_command backlog = {
    .name = "backlog", .usage = "", .run = command_backlog,
    .summary = "list what back ends and webhooks have yet to take",
    .about = "Of each forwarder and webhook, on each node of the cluster: how many messages wait, how old the oldest is, how many batches are under "
             "way. Needs the right `admin` once the server has keys.",
    .options = backlog_options, .sections = backlog_sections, .examples = backlog_examples,
    .words_min = 0, .words_max = 0, .words_ask = "longwire backlog takes no words, only options",
};

static const struct tool_command dead = {
    .name = "dead", .usage = "list|retry [SEQ...]", .run = command_dead,
    .summary = "list messages that no back end took, and send them again",
    .about = "They stand in the channel `sys:dead`, each with the status of the last answer. `retry` publishes a message into its channel once more, so that "
             "it is forwarded like any other, and takes it off the list. Needs the right `admin` once the server has keys.",
    .options = dead_options, .sections = no_sections, .examples = dead_examples, .choices = "list retry",
    .words_min = 1, .words_max = SIZE_MAX, .words_ask = "list or retry? And of retry which ones: SEQ..., or --all. For instance: longwire dead retry 17",
};

static const struct tool_command top = {
    .name = "top", .usage = "", .run = command_top,
    .summary = "a live table of the nodes: clients, rates, lag",
    .about = "Each round asks the server for its nodes, and each of these for its metrics. Needs the right `admin` once the servers have "
             "keys. Ctrl-C leaves. Without --count it waits for servers that go away after the first table.",
    .options = top_options, .sections = top_sections, .examples = top_examples,
    .words_min = 0, .words_max = 0, .words_ask = "longwire top takes no words, only options",
};

static const struct tool_command who = {
    .name = "who", .usage = "USER", .run = command_who,
    .summary = "a user's devices, and how far each of them is",
    .about = "Of each device that has a session: whether it is online and by what, when it was seen last; and of each channel up to "
             "where it has acknowledged, the channel's head, and when that was stored. Then up to where the user has read. What "
             "was acknowledged in the last second may not be stored yet. Needs the right `subscribe` once the server has keys.",
    .options = who_options, .sections = no_sections, .examples = who_examples,
    .words_min = 1, .words_max = 1, .words_ask = "which user? For instance: longwire who ann",
};

static const struct tool_command token = {
    .name = "token", .usage = "", .run = command_token, .is_local = true,
    .summary = "sign a token for a user, to try things out",
    .about = "Prints a JSON Web Token (HS256) that lets its user in at a server with a `[jwt NAME]` section that has the same "
             "secret. In earnest your application signs tokens, when its users log in.",
    .options = token_options, .sections = token_sections, .examples = token_examples,
    .words_min = 0, .words_max = 0, .words_ask = "longwire token takes no words, only options",
};

static const struct tool_command store = {
    .name = "store", .usage = "copy FROM TO", .run = command_store, .is_local = true,
    .summary = "copy a server's data directory into PostgreSQL",
    .about = "FROM is the data directory of a server that is stopped, TO the URL of a database that `longwired --init` has just prepared, "
             "or, with commas between, the URLs of all databases of a cluster. "
             "Numbers, epochs, keys and sessions are kept, so clients go on from where they are. A copy that was ended goes on when "
             "it is begun again. `longwired --copy` does the work, on this machine; say in `LONGWIRE_CONFIG` which "
             "configuration file the server has: what its namespaces keep no longer is left out.",
    .options = no_options, .sections = no_sections, .examples = store_examples, .choices = "copy",
    .words_min = 3, .words_max = 3,
    .words_ask = "what, from where, and where to? For instance: longwire store copy /var/lib/longwire postgres://longwire@db1/push",
};

static const struct tool_command completion = {
    .name = "completion", .usage = "bash|zsh|fish", .run = command_completion, .is_local = true,
    .summary = "print a script that lets a shell complete commands and options",
    .about = "`make install` puts these scripts where Debian's shells look for them.",
    .options = no_options, .sections = no_sections, .examples = completion_examples, .choices = "bash zsh fish",
    .words_min = 1, .words_max = 1, .words_ask = "for which shell? longwire completion bash, zsh or fish",
};

static const struct tool_command man = {
    .name = "man", .usage = "", .run = command_man, .is_local = true,
    .summary = "print the man page",
    .about = "It is made from the same table as all help.",
    .options = man_options, .sections = no_sections, .examples = man_examples,
    .words_min = 0, .words_max = 0, .words_ask = "longwire man takes no words",
};

static const struct tool_command help = {
    .name = "help", .usage = "[COMMAND]", .run = command_help, .is_local = true,
    .summary = "print help, in general or on one command",
    .about = "The same as `longwire COMMAND --help`.",
    .options = no_options, .sections = no_sections, .examples = help_examples,
    .choices = "sub pub request proxy history channels info recall purge why who sessions nodes top backlog dead token store completion man",
    .words_min = 0, .words_max = 1, .words_ask = "one command at most. For instance: longwire help sub",
};

const struct tool_command *const tool_commands[] = {
    &sub, &pub, &request, &proxy, &history, &channels, &info, &recall, &purge, &why, &who, &sessions, &nodes, &top, &backlog, &dead, &token, &store, &completion, &man, &help, NULL,
};

const struct tool_section tool_sections[] = {
    { "Channels", "A channel is named namespace:name, for instance topic:prices, user:alice or live:scores. There "
      "are no wildcards." },
    { "Environment",
      "`LONGWIRE_SERVER` and `LONGWIRE_KEY` stand for `--server` and `--key`. libcurl's `http_proxy`, "
      "`https_proxy` and `no_proxy` hold, but not for servers on this machine." },
    { "Exit status",
      "  0   done\n"
      "  1   the server refused, its answer can't be used, or output can't be written\n"
      "  2   the server can't be reached, or the link to it was lost\n"
      "  3   --timeout ran out first\n"
      "  64  the command line can't be understood\n"
      "\n"
      "Ctrl-C ends `sub`, `top` and `proxy` with 0, because there it is a usual way to leave, and any other command as signals do: shells "
      "show 130." },
    { NULL, NULL },
};

const char *const tool_examples[] = {
    "longwire sub topic:hello                    # in one terminal, and in another",
    "longwire pub topic:hello 'Hello, world'",
    NULL,
};

const struct tool_command *command_find(struct span name)
{
    for (const struct tool_command *const *at = tool_commands; *at != NULL; at++)
        if (span_eq(name, span_str((*at)->name)))
            return *at;
    return NULL;
}
