#include "cluster/record_text.h"

static void record_word_put(struct buf *buf, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    buf_put(buf, span_str(name));
    buf_putc(buf, ' ');
    buf_put(buf, span_str(value));
    buf_putc(buf, '\n');
}

static void record_number_put(struct buf *buf, const char *name, uint64_t value)
{
    if (value == 0)
        return;
    buf_put(buf, span_str(name));
    buf_putc(buf, ' ');
    buf_put_u64(buf, value);
    buf_putc(buf, '\n');
}

void record_text_put(struct buf *buf, const struct node_record *record)
{
    record_word_put(buf, "node", record->id.name);
    record_number_put(buf, "incarnation", record->id.incarnation);
    record_number_put(buf, "started", (uint64_t)record->started);
    record_number_put(buf, "protocol", record->protocol);
    record_number_put(buf, "engines", record->engines);
    record_number_put(buf, "store", record->store);
    record_number_put(buf, "roles", record->roles);
    record_number_put(buf, "draining", record->is_draining);
    record_number_put(buf, "connections", record->connections);
    record_number_put(buf, "capacity", record->capacity);
    record_number_put(buf, "admissions", record->admissions_per_s);
    record_word_put(buf, "region", record->region);
    record_word_put(buf, "advertise", record->advertise);
    record_word_put(buf, "version", record->version);
}

struct record_field {
    const char *name;
    char       *text;  /* NULL: a number */
    size_t      bytes_max;
    uint64_t   *number;
};

static bool field_take(const struct record_field *field, struct span value)
{
    if (field->text == NULL)
        return span_u64(value, field->number);
    if (value.len == 0 || value.len > field->bytes_max || memchr(value.at, '\0', value.len) != NULL)
        return false;
    memcpy(field->text, value.at, value.len);
    field->text[value.len] = '\0';
    return true;
}

static bool record_line_take(const struct record_field *fields, size_t count, struct span line)
{
    struct span name;

    if (!span_cut(&line, ' ', &name))
        return false;
    for (size_t i = 0; i < count; i++)
        if (span_eq(name, span_str(fields[i].name)))
            return field_take(&fields[i], line);
    return true;
}

bool record_text_get(struct span text, struct node_record *ret)
{
    struct node_record record = { 0 };
    uint64_t           started = 0, protocol = 0, engines = 0, roles = 0, is_draining = 0;
    struct span        line;
    const struct record_field fields[] = {
        { "node", record.id.name, NODE_RECORD_NAME_MAX, NULL },
        { "incarnation", NULL, 0, &record.id.incarnation },
        { "started", NULL, 0, &started },
        { "protocol", NULL, 0, &protocol },
        { "engines", NULL, 0, &engines },
        { "store", NULL, 0, &record.store },
        { "roles", NULL, 0, &roles },
        { "draining", NULL, 0, &is_draining },
        { "connections", NULL, 0, &record.connections },
        { "capacity", NULL, 0, &record.capacity },
        { "admissions", NULL, 0, &record.admissions_per_s },
        { "region", record.region, NODE_RECORD_REGION_MAX, NULL },
        { "advertise", record.advertise, NODE_RECORD_ADVERTISE_MAX, NULL },
        { "version", record.version, NODE_RECORD_VERSION_MAX, NULL },
    };

    while (span_cut(&text, '\n', &line))
        if (line.len > 0 && !record_line_take(fields, sizeof fields / sizeof fields[0], line))
            return false;
    if (record.id.name[0] == '\0' || record.id.incarnation == 0 || started > INT64_MAX || protocol > UINT32_MAX ||
        engines > UINT32_MAX || roles > UINT32_MAX)
        return false;
    record.started     = (msec)started;
    record.protocol    = (uint32_t)protocol;
    record.engines     = (uint32_t)engines;
    record.roles       = (unsigned)roles;
    record.is_draining = is_draining != 0;
    *ret               = record;
    return true;
}
