/* origin_rule.h - the origins of web pages (RFC 6454 7), and the rules for them that the setting `origins` lists. Pure.
 *
 *     *                          all origins
 *     null                       pages without an origin: of files, of sandboxed frames
 *     https://app.example        this origin; any scheme: capacitor://localhost, chrome-extension://ID
 *     https://app.example:8443   … on this port
 *     http://localhost:*         … on any port
 *     https://X.example.com      X being `*`: every name below example.com, and not example.com itself */
#ifndef SETTINGS_ORIGIN_RULE_H
#define SETTINGS_ORIGIN_RULE_H

#include "base/span.h"

/* scheme "://" host [ ":" port ] */
struct origin_parts {
    struct span scheme, host;
    struct span port;  /* empty: the scheme's own */
};

/* Takes an origin as browsers send it apart. False: it has another form; so has `null`. */
bool origin_parse(struct span text, struct origin_parts *ret);

/* Is the text one of the rules above? */
bool origin_rule_is_valid(struct span rule);

/* Does the host of this rule, which may begin with `*.`, stand for this one? Letter case does not count. */
bool origin_host_fits(struct span host, struct span pattern);

/* Does this rule, which is valid and not `*`, name the origin? */
bool origin_rule_fits(struct span origin, struct span rule);

/* The host that a rule names, as in origin_host_fits(). Empty: it names none on http or https. */
struct span origin_rule_host(struct span rule);

#endif
