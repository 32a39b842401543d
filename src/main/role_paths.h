/* role_paths.h - which role a node must have to serve a path. Pure. */
#ifndef MAIN_ROLE_PATHS_H
#define MAIN_ROLE_PATHS_H

#include "base/span.h"
#include "route/node_record.h"

/* 0: any node serves it: probes, metrics, pages, and what is said of nodes. */
unsigned role_of_path(struct span path);

/* For the refusal: what is missing here. */
const char *role_missing_text(unsigned role);

#endif
