/* template.h - how --format 'TEMPLATE' writes an object: text with {fields}.
 *
 * {name} stands for a field; {{ and }} for braces; \n, \t, \0 and \\ for those characters. A template is checked when
 * it is parsed: an unknown field is an error there. */
#ifndef LONGWIRE_TEMPLATE_H
#define LONGWIRE_TEMPLATE_H

#include "base/buf.h"

enum { TEMPLATE_PARTS_MAX = 64, TEMPLATE_BYTES_MAX = 4096 };

struct template {
    struct buf text;  /* all literal text, one piece behind the other */
    struct {
        int    field;  /* index of a field's name; -1: the next `len` bytes of text */
        size_t len;
    } parts[TEMPLATE_PARTS_MAX];
    size_t count;
};

/* Neither holds memory of `text`. template_fini() is for every template that was initialised, parsed or not. */
void template_init(struct template *template);
void template_fini(struct template *template);

/* `names` are the fields, `count` of them. False: *ret_why says what is wrong, as the end of a sentence. */
bool template_parse(struct template *template, struct span text, const char *const *names, size_t count,
                    struct buf *ret_why);

/* Puts a field's text. */
typedef void template_field_fn(const void *arg, int field, struct buf *buf);
void         template_put(const struct template *template, template_field_fn *fn, const void *arg, struct buf *buf);

#endif
