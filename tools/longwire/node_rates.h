/* node_rates.h - what `longwire top` shows of a node: numbers of its /metrics, and how fast they grow. Pure. */
#ifndef LONGWIRE_NODE_RATES_H
#define LONGWIRE_NODE_RATES_H

#include "base/buf.h"
#include "base/msec.h"

enum node_number {
    NUMBER_CLIENTS,     /* that follow */
    NUMBER_PUBLISHED,   /* messages stored by this node */
    NUMBER_DELIVERED,   /* messages handed to sockets */
    NUMBER_HEARD,       /* messages and heads that came from other nodes */
    NUMBER_HOLES,       /* in the frames of other nodes: each was healed by reading the log */
    NUMBER_WAITING,     /* publishes that wait for the store */
    NUMBER_LAGGING,     /* readers whose socket is full */
    NUMBER_COUNT,
};

struct node_sample {
    bool   is_there;
    msec   at;
    double numbers[NUMBER_COUNT];
};

/* The title of a column, and whether it shows how much a number grows a second, instead of the number. */
struct node_column { const char *title, *json; bool is_rate; };
extern const struct node_column node_columns[NUMBER_COUNT];

/* Sums what a text in Prometheus' format says under each name, over all labels. What is missing is 0. */
void node_sample_read(struct node_sample *sample, struct span metrics, msec at);

/* What the column shows. A rate is 0 without an earlier sample, and after a restart of the node. */
double node_number_shown(const struct node_sample *before, const struct node_sample *now, enum node_number number);

/* "17", "4.2k", "1.3M": at most six characters. */
void node_number_put(struct buf *buf, double number);

#endif
