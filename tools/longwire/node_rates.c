#include "longwire/node_rates.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { NUMBER_TEXT_MAX = 63 };

const struct node_column node_columns[NUMBER_COUNT] = {
    [NUMBER_CLIENTS] = { "CLIENTS", "clients", false },        [NUMBER_PUBLISHED] = { "PUBL/S", "published_per_s", true },
    [NUMBER_DELIVERED] = { "DELIV/S", "delivered_per_s", true }, [NUMBER_HEARD] = { "HEARD/S", "heard_per_s", true },
    [NUMBER_HOLES] = { "HOLES", "holes", false },              [NUMBER_WAITING] = { "WAITING", "waiting", false },
    [NUMBER_LAGGING] = { "LAGGING", "lagging", false },
};

/* Of those with a label that is named here only the samples that have it. */
static const struct { const char *name, *label; } metrics_shown[NUMBER_COUNT] = {
    [NUMBER_CLIENTS] = { "longwire_sessions", "" },
    [NUMBER_PUBLISHED] = { "longwire_publishes_total", "" },
    [NUMBER_DELIVERED] = { "longwire_deliveries_total", "" },
    [NUMBER_HEARD] = { "longwire_bus_items_total", "{direction=\"in\"," },
    [NUMBER_HOLES] = { "longwire_bus_gaps_total", "" },
    [NUMBER_WAITING] = { "longwire_publishes_waiting", "" },
    [NUMBER_LAGGING] = { "longwire_lagging_readers", "" },
};

/* Behind the last blank of a line: labels may hold some. */
static double number_of(struct span line)
{
    char   text[NUMBER_TEXT_MAX + 1];
    size_t at = line.len;

    while (at > 0 && line.at[at - 1] != ' ')
        at--;
    struct span number = span_skip(line, at);
    if (number.len == 0 || number.len > NUMBER_TEXT_MAX)
        return 0;
    memcpy(text, number.at, number.len);
    text[number.len] = '\0';
    double value = strtod(text, NULL);
    return isfinite(value) ? value : 0;
}

void node_sample_read(struct node_sample *sample, struct span metrics, msec at)
{
    struct span line;

    *sample = (struct node_sample){ .is_there = true, .at = at };
    while (metrics.len > 0 && span_cut(&metrics, '\n', &line)) {
        size_t name = 0;
        while (name < line.len && line.at[name] != '{' && line.at[name] != ' ')
            name++;
        for (size_t i = 0; i < NUMBER_COUNT; i++)
            if (span_eq(span_head(line, name), span_str(metrics_shown[i].name)) &&
                span_starts(span_skip(line, name), span_str(metrics_shown[i].label)))
                sample->numbers[i] += number_of(line);
    }
}

double node_number_shown(const struct node_sample *before, const struct node_sample *now, enum node_number number)
{
    double grown = now->numbers[number] - before->numbers[number];

    if (!node_columns[number].is_rate)
        return now->numbers[number];
    if (!before->is_there || now->at <= before->at || grown < 0)
        return 0;
    return grown * 1000 / (double)(now->at - before->at);
}

void node_number_put(struct buf *buf, double number)
{
    static const char units[] = "kMGTP";
    size_t            unit    = 0;

    if (number < 9999.5) {
        buf_putf(buf, "%.*f", number > 0 && number < 9.95 && number != floor(number) ? 1 : 0, number);
        return;
    }
    for (number /= 1000; number >= 999.5 && units[unit + 1] != '\0'; unit++)
        number /= 1000;
    buf_putf(buf, number < 99.95 ? "%.1f%c" : "%.0f%c", number, units[unit]);
}
