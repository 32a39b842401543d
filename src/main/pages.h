/* pages.h - the files of web/, within the binary. */
#ifndef MAIN_PAGES_H
#define MAIN_PAGES_H

#include "api/api.h"

size_t pages_get(const struct api_page **ret_pages);

#endif
