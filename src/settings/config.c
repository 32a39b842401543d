#include "settings/config_priv.h"
#include "settings/secret_file.h"
#include "settings/url_list.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WHY_BYTES_MAX = 2048, NAME_BYTES_MAX = 64 };

#define VARIABLE_HEAD "LONGWIRE_"

enum run_mode { MODE_RUN, MODE_INIT, MODE_COPY, MODE_REPAIR, MODE_TAKE_OVER, MODE_RELOAD, MODE_CHECK, MODE_HELP, MODE_VERSION, MODE_PRINT_CONFIG, MODE_PRINT_DOCS };

/* What the command line says. It is applied after file and environment. Borrows from argv. */
struct command_line {
    enum run_mode mode;
    struct span   config;                /* path; empty: none */
    bool          is_given[SETTING_COUNT];
    struct span   value[SETTING_COUNT];
};

void config_say_name(struct buf *say, struct span name)
{
    struct buf hidden;

    buf_init(&hidden, 64 * 1024);
    url_put_shown(&hidden, name);  /* a URL that stands where a name should be may have a password */
    struct span shown = span_head(buf_span(&hidden), NAME_BYTES_MAX);
    for (size_t i = 0; i < shown.len; i++) {
        bool is_plain = shown.at[i] >= ' ' && shown.at[i] < 0x7f;
        buf_put(say, is_plain ? span_of(&shown.at[i], 1) : SPAN("?"));
    }
    buf_fini(&hidden);
}

static void say_line(struct buf *say, struct span name, struct span what)
{
    config_say_name(say, name);
    buf_put_lit(say, ": ");
    buf_put(say, what);
    buf_putc(say, '\n');
}

/* --- flags --------------------------------------------------------------------------------------------------- */

static bool run_mode_find(struct span name, enum run_mode *ret_mode)
{
    static const struct { struct span name; enum run_mode mode; } modes[] = {
        { SPAN("check"), MODE_CHECK },
        { SPAN("init"), MODE_INIT },
        { SPAN("copy"), MODE_COPY },
        { SPAN("repair"), MODE_REPAIR },
        { SPAN("take-over"), MODE_TAKE_OVER },
        { SPAN("reload"), MODE_RELOAD },
        { SPAN("help"), MODE_HELP },
        { SPAN("version"), MODE_VERSION },
        { SPAN("print-config"), MODE_PRINT_CONFIG },
        { SPAN("print-docs"), MODE_PRINT_DOCS },
    };
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++)
        if (span_eq(modes[i].name, name)) {
            *ret_mode = modes[i].mode;
            return true;
        }
    return false;
}

/* One flag on its way from argv into the command line. */
struct flag {
    struct span whole;      /* "--http", for messages */
    struct span name;       /* "http" */
    struct span value;
    bool        has_value;
};

static bool setting_flag_take(struct command_line *line, const struct flag *flag, enum setting setting, struct buf *say)
{
    if (!flag->has_value && !setting_is_switch(setting)) {
        say_line(say, flag->whole, SPAN("needs a value"));
        return false;
    }
    if (line->is_given[setting]) {
        say_line(say, flag->whole, SPAN("is given twice; a list is one value, with commas"));
        return false;
    }
    line->is_given[setting] = true;
    line->value[setting]    = flag->has_value ? flag->value : SPAN("true");
    return true;
}

static bool config_flag_take(struct command_line *line, const struct flag *flag, struct buf *say)
{
    if (!flag->has_value || flag->value.len == 0 || line->config.len > 0) {
        say_line(say, flag->whole, SPAN("needs the path of one file, once"));
        return false;
    }
    line->config = flag->value;
    return true;
}

static bool flag_take(struct command_line *line, const struct flag *flag, struct buf *say)
{
    enum setting setting;
    if (span_eq(flag->name, SPAN("config")))
        return config_flag_take(line, flag, say);
    if (setting_find(flag->name, &setting))
        return setting_flag_take(line, flag, setting, say);
    say_line(say, flag->whole, SPAN("there is no such flag; longwired --help lists them all"));
    return false;
}

/* Takes `--name=value` apart, or finds the value in the next argument. */
static struct flag flag_at(char *const *argv, int *at)
{
    struct span argument = span_str(argv[*at]), value = argument;
    struct flag flag     = { 0 };

    flag.has_value = strchr(argv[*at], '=') != NULL;
    span_cut(&value, '=', &flag.whole);
    flag.name  = span_skip(flag.whole, 2);
    flag.value = value;
    if (!flag.has_value && argv[*at + 1] != NULL && !span_starts(span_str(argv[*at + 1]), SPAN("--"))) {
        flag.has_value = true;
        flag.value     = span_str(argv[++*at]);
    }
    return flag;
}

static bool command_line_read(char *const *argv, struct command_line *line, struct buf *say)
{
    bool is_good = true;

    for (int i = 1; argv[0] != NULL && argv[i] != NULL; i++) {
        struct span argument = span_str(argv[i]);
        if (!span_starts(argument, SPAN("--"))) {
            say_line(say, argument, SPAN("is not a flag; flags begin with --, and longwired --help lists them all"));
            is_good = false;
            continue;
        }
        if (run_mode_find(span_skip(argument, 2), &line->mode))
            continue;
        struct flag flag = flag_at(argv, &i);
        is_good &= flag_take(line, &flag, say);
    }
    return is_good;
}

static bool flags_apply(const struct command_line *line, struct settings *settings, struct buf *say)
{
    bool       is_good = true;
    struct buf why;

    buf_init(&why, WHY_BYTES_MAX);
    for (enum setting setting = 0; setting < SETTING_COUNT; setting++) {
        if (!line->is_given[setting])
            continue;
        if (settings_set(settings, setting, line->value[setting], &why)) {
            settings->source_of[setting] = FROM_FLAG;
            continue;
        }
        buf_putf(say, "--%s: %.*s\n", setting_name(setting), SPAN_ARG(buf_span(&why)));
        buf_clear(&why);
        is_good = false;
    }
    buf_fini(&why);
    return is_good;
}

/* --- environment --------------------------------------------------------------------------------------------- */

/* The setting that LONGWIRE_NAME stands for. */
static bool variable_find(struct span name, enum setting *ret_setting)
{
    char lower[NAME_BYTES_MAX];

    if (name.len > sizeof lower)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (islower((unsigned char)name.at[i]) || name.at[i] == '-')
            return false;
        lower[i] = (char)tolower((unsigned char)name.at[i]);
    }
    return setting_find(span_of(lower, name.len), ret_setting);
}

static bool variable_take(struct settings *settings, struct span name, struct span value, struct buf *why,
                          struct buf *say)
{
    struct span  tail = span_skip(name, sizeof VARIABLE_HEAD - 1);
    enum setting setting;

    if (span_eq(tail, SPAN("CONFIG")) || span_eq(tail, SPAN("SERVER")) || span_eq(tail, SPAN("KEY")))
        return true;  /* config_file_apply() reads the first, the command line tools the others */
    if (!variable_find(tail, &setting)) {
        say_line(say, name, SPAN("warning: there is no such setting, so this variable does nothing"));
        return true;
    }
    if (!settings_set(settings, setting, value, why)) {
        say_line(say, name, buf_span(why));
        return false;
    }
    settings->source_of[setting] = FROM_ENVIRONMENT;
    return true;
}

static bool environment_apply(char *const *env, struct settings *settings, struct buf *say)
{
    bool       is_good = true;
    struct buf why;

    buf_init(&why, WHY_BYTES_MAX);
    for (; *env != NULL; env++) {
        struct span value = span_str(*env), name;
        if (!span_starts(value, SPAN(VARIABLE_HEAD)) || !span_cut(&value, '=', &name))
            continue;
        is_good &= variable_take(settings, name, value, &why, say);
        buf_clear(&why);
    }
    buf_fini(&why);
    return is_good;
}

static struct span environment_get(char *const *env, struct span name)
{
    for (; *env != NULL; env++) {
        struct span value = span_str(*env), head;
        if (span_cut(&value, '=', &head) && span_eq(head, name))
            return value;
    }
    return SPAN("");
}

/* --- file ---------------------------------------------------------------------------------------------------- */

static bool file_say(struct buf *say, const char *path, int error)
{
    buf_putf(say, "%s: can't be read: %s\n", path, strerrordesc_np(error));
    return false;
}

/* Reads the whole file. A file above the maximum of *text is refused. */
static bool file_slurp(int fd, const char *path, struct buf *text, struct buf *say)
{
    char    piece[4096];
    ssize_t len;

    while ((len = read(fd, piece, sizeof piece)) > 0 && !buf_is_over(text))
        buf_put(text, span_of(piece, (size_t)len));
    if (len < 0)
        return file_say(say, path, errno);
    if (buf_is_over(text)) {
        buf_putf(say, "%s: may be at most %d bytes long\n", path, CONFIG_FILE_BYTES_MAX);
        return false;
    }
    return true;
}

static bool holds_secrets(const struct settings *settings)
{
    for (size_t i = 0; i < settings->key_count; i++)
        if (settings->keys[i].secret_file[0] == '\0')
            return true;
    for (size_t i = 0; i < settings->issuer_count; i++)
        if (settings->issuers[i].source == JWT_SECRET && settings->issuers[i].place[0] == '\0')
            return true;
    for (size_t i = 0; i < settings->webhook_count; i++)
        if (settings->webhooks[i].secret_file[0] == '\0')
            return true;
    return (settings->source_of[SETTING_store] == FROM_FILE && url_has_secret(span_str(settings->store))) ||
           (settings->source_of[SETTING_cluster] == FROM_FILE && url_has_secret(span_str(settings->cluster)));
}

static void secret_file_check(const char *path, struct buf *say)
{
    if (secret_file_is_public(path))
        buf_putf(say, "%s: warning: every user of this machine can read this secret; chmod o-r would end that\n", path);
}

/* A warning alone: a container has no other users, and platforms often hand secrets out like that. */
static void secrecy_check(int fd, const char *path, const struct settings *settings, struct buf *say)
{
    struct stat stat;
    if (holds_secrets(settings) && fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) && (stat.st_mode & S_IROTH))
        buf_putf(say, "%s: warning: every user of this machine can read its keys; chmod o-r would end that\n", path);
    for (size_t i = 0; i < settings->key_count; i++)
        secret_file_check(settings->keys[i].secret_file, say);
    for (size_t i = 0; i < settings->issuer_count; i++)
        if (settings->issuers[i].source == JWT_SECRET)
            secret_file_check(settings->issuers[i].place, say);
    for (size_t i = 0; i < settings->webhook_count; i++)
        secret_file_check(settings->webhooks[i].secret_file, say);
    for (size_t i = 0; i < settings->tls_count; i++)
        secret_file_check(settings->tls[i].key, say);
}

enum load_kind { LOAD_AT_START, LOAD_AT_RELOAD };

static bool file_can_be_read_again(int fd, const char *path, struct buf *say)
{
    struct stat stat;
    if (fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode))
        return true;
    buf_putf(say, "%s: is no regular file, and a reload reads only regular files; a restart would read it\n", path);
    return false;
}

static bool file_apply(const char *path, enum load_kind kind, struct settings *settings, struct buf *say)
{
    struct buf text;
    int        fd = open(path, O_RDONLY | O_CLOEXEC | (kind == LOAD_AT_RELOAD ? O_NONBLOCK : 0));
    if (fd < 0)
        return file_say(say, path, errno);

    buf_init(&text, CONFIG_FILE_BYTES_MAX);
    bool is_good = (kind == LOAD_AT_START || file_can_be_read_again(fd, path, say)) &&
                   file_slurp(fd, path, &text, say) && config_read(settings, path, buf_span(&text), say);
    if (is_good)
        secrecy_check(fd, path, settings, say);
    if (text.at != NULL)
        explicit_bzero(text.at, text.cap);
    buf_fini(&text);
    close(fd);
    return is_good;
}

static bool config_file_apply(const struct command_line *line, char *const *env, enum load_kind kind,
                              struct settings *settings, struct buf *say)
{
    struct span path = line->config.len > 0 ? line->config : environment_get(env, SPAN(VARIABLE_HEAD "CONFIG"));
    /* Both spans end where their string ends, so they are C strings too. */
    return path.len == 0 || file_apply(path.at, kind, settings, say);
}

/* --- all together -------------------------------------------------------------------------------------------- */

static bool finish(struct settings *settings, struct buf *say)
{
    struct buf why;
    buf_init(&why, WHY_BYTES_MAX);
    bool is_good = settings_finish(settings, &why);
    if (!is_good) {
        buf_put(say, buf_span(&why));
        buf_putc(say, '\n');
    }
    buf_fini(&why);
    return is_good;
}

/* Prints what needs no settings. False: this mode needs them. */
static bool run_mode_print(enum run_mode mode, struct buf *say)
{
    switch (mode) {
    case MODE_RUN:
    case MODE_INIT:
    case MODE_COPY:
    case MODE_REPAIR:
    case MODE_TAKE_OVER:
    case MODE_RELOAD:
    case MODE_CHECK: return false;
    case MODE_HELP: buf_clear(say); settings_print_help(say); return true;
    case MODE_VERSION: buf_clear(say); buf_put_lit(say, "longwired " LONGWIRE_VERSION "\n"); return true;
    case MODE_PRINT_CONFIG: buf_clear(say); settings_print_config(say); return true;
    case MODE_PRINT_DOCS: buf_clear(say); settings_print_docs(say); return true;
    }
    return false;
}

static bool sources_apply(const struct command_line *line, char *const *env, enum load_kind kind,
                          struct settings *settings, struct buf *say)
{
    bool is_good = config_file_apply(line, env, kind, settings, say);
    is_good &= environment_apply(env, settings, say);
    is_good &= flags_apply(line, settings, say);
    return is_good;
}

bool config_load_again(char *const *argv, char *const *env, struct settings *settings, struct buf *say)
{
    struct command_line line = { 0 };

    settings_init(settings);
    return command_line_read(argv, &line, say) && sources_apply(&line, env, LOAD_AT_RELOAD, settings, say) &&
           finish(settings, say);
}

enum config_verdict config_load(char *const *argv, char *const *env, struct settings *settings, struct buf *say)
{
    struct command_line line = { 0 };

    settings_init(settings);
    bool is_good = command_line_read(argv, &line, say);
    if (run_mode_print(line.mode, say))
        return CONFIG_EXIT_OK;
    is_good &= sources_apply(&line, env, LOAD_AT_START, settings, say);
    /* Settings are compared with each other only if each of them is right. */
    is_good = is_good && finish(settings, say);
    if (!is_good)
        return CONFIG_EXIT_BAD;
    if (line.mode != MODE_CHECK)
        return line.mode == MODE_REPAIR ? CONFIG_REPAIR
             : line.mode == MODE_TAKE_OVER ? CONFIG_TAKE_OVER
             : line.mode == MODE_RELOAD ? CONFIG_RELOAD
             : line.mode == MODE_INIT   ? CONFIG_INIT
             : line.mode == MODE_COPY   ? CONFIG_COPY
                                        : CONFIG_RUN;
    settings_print_in_force(settings, say);
    return CONFIG_EXIT_OK;
}
