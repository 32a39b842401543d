#include "api/time_text.h"

enum { NUMBER_DIGITS = 15, SECOND_MS = 1000, DAY_S = 86400, FRACTION_DIGITS = 3 };

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Takes the digits at the beginning, between 1 and NUMBER_DIGITS of them. */
static bool take_number(struct span *rest, int64_t *ret)
{
    size_t len = 0;

    *ret = 0;
    while (len < rest->len && is_digit(rest->at[len])) {
        if (len == NUMBER_DIGITS)
            return false;
        *ret = *ret * 10 + (rest->at[len++] - '0');
    }
    *rest = span_skip(*rest, len);
    return len > 0;
}

/* --- durations and numbers ---------------------------------------------------------------------------------------- */

static bool unit_ms(struct span unit, int64_t *ret)
{
    static const struct {
        struct span text;
        int64_t     ms;
    } rows[] = {
        { { "ms", 2 }, 1 }, { { "s", 1 }, SECOND_MS }, { { "m", 1 }, 60 * SECOND_MS }, { { "h", 1 }, 3600 * SECOND_MS },
        { { "d", 1 }, DAY_S * SECOND_MS },
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (span_eq(rows[i].text, unit)) {
            *ret = rows[i].ms;
            return true;
        }
    }
    return false;
}

/* A plain number, or one with a unit. */
static bool get_short(struct span text, msec wall, msec *ret)
{
    int64_t number, unit;

    if (!take_number(&text, &number))
        return false;
    if (text.len == 0) {
        *ret = number;
        return true;
    }
    if (!unit_ms(text, &unit))
        return false;
    *ret = number > wall / unit ? 0 : wall - number * unit;
    return true;
}

/* --- RFC 3339 5.6 ------------------------------------------------------------------------------------------------- */

/* Exactly `count` digits, between low and high, and then `mark` (0: nothing in particular). */
static bool take_part(struct span *rest, size_t count, int low, int high, char mark, int *ret)
{
    size_t len = count + (mark != '\0');
    int    value = 0;

    if (rest->len < len)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(rest->at[i]))
            return false;
        value = value * 10 + (rest->at[i] - '0');
    }
    /* `T` and `Z` may be small letters. */
    if (mark != '\0' && rest->at[count] != mark && !(mark == 'T' && rest->at[count] == 't'))
        return false;
    *rest = span_skip(*rest, len);
    *ret  = value;
    return value >= low && value <= high;
}

static int month_days(int year, int month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool             is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && is_leap);
}

/* Days since 1970-01-01, in the Gregorian calendar, for years from 1970 on. */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t before = year - 1;
    int64_t days   = 365 * ((int64_t)year - 1970) + (before / 4 - before / 100 + before / 400) - 477;

    for (int i = 1; i < month; i++)
        days += month_days(year, i);
    return days + day - 1;
}

/* Any number of digits; what is finer than a millisecond is cut off. */
static bool take_fraction(struct span *rest, int64_t *ret_ms)
{
    size_t len = 0;

    *ret_ms = 0;
    if (rest->len == 0 || rest->at[0] != '.')
        return true;
    *rest = span_skip(*rest, 1);
    while (len < rest->len && is_digit(rest->at[len]))
        len++;
    for (size_t i = 0; i < FRACTION_DIGITS; i++)
        *ret_ms = *ret_ms * 10 + (i < len ? rest->at[i] - '0' : 0);
    *rest = span_skip(*rest, len);
    return len > 0;
}

static bool take_offset(struct span *rest, int64_t *ret_s)
{
    int hours, minutes;

    if (rest->len == 0)
        return false;
    char sign = rest->at[0];
    *rest     = span_skip(*rest, 1);
    *ret_s    = 0;
    if (sign == 'Z' || sign == 'z')
        return true;
    if (sign != '+' && sign != '-' && sign != ' ')
        return false;
    if (!take_part(rest, 2, 0, 23, ':', &hours) || !take_part(rest, 2, 0, 59, '\0', &minutes))
        return false;
    *ret_s = (sign == '-' ? -60 : 60) * (60 * hours + minutes);
    return true;
}

static bool get_rfc3339(struct span text, msec *ret)
{
    int     year, month, day, hour, minute, second;
    int64_t fraction, offset;

    if (!take_part(&text, 4, 1970, 9999, '-', &year) || !take_part(&text, 2, 1, 12, '-', &month) ||
        !take_part(&text, 2, 1, month_days(year, month), 'T', &day) || !take_part(&text, 2, 0, 23, ':', &hour) ||
        !take_part(&text, 2, 0, 59, ':', &minute) || !take_part(&text, 2, 0, 60, '\0', &second) ||
        !take_fraction(&text, &fraction) || !take_offset(&text, &offset) || text.len > 0)
        return false;
    int64_t days = days_since_1970(year, month, day);
    *ret         = ((days * 24 + hour) * 3600 + minute * 60 + second - offset) * SECOND_MS + fraction;
    return true;
}

bool time_text_get(struct span text, msec wall, msec *ret_time)
{
    msec time = 0;

    if (!get_short(text, wall, &time) && !get_rfc3339(text, &time))
        return false;
    *ret_time = time < 1 ? 1 : time;
    return true;
}
