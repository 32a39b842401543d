#include "bench/meter.h"

#include "bench/clock.h"

static uint64_t own_cpu_ns(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * NS_PER_S + (uint64_t)used.tv_nsec;
}

static void rest(uint64_t ns)
{
    struct timespec length = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };
    nanosleep(&length, NULL);
}

void meter_start(struct meter *meter, const struct options *options)
{
    meter->server    = proc_family((pid_t)options->pid);
    meter->settle_ns = options->settle_ms * NS_PER_MS;
    rest(meter->settle_ns);
    meter->server_ns = proc_cpu_ns(&meter->server);
    meter->client_ns = own_cpu_ns();
    meter->wall_ns   = clock_ns();
}

void meter_stop(struct meter *meter)
{
    meter->wall_ns   = clock_ns() - meter->wall_ns;
    meter->client_ns = own_cpu_ns() - meter->client_ns;
    rest(meter->settle_ns);
    meter->server_ns = proc_cpu_ns(&meter->server) - meter->server_ns;
}

void meter_report(const struct meter *meter, struct report *report, uint64_t count)
{
    double each = count > 0 ? (double)count : 1;
    double wall = (double)meter->wall_ns;
    report_real(report, "server_cpu_us", (double)meter->server_ns / NS_PER_US / each);
    report_real(report, "client_cpu_us", (double)meter->client_ns / NS_PER_US / each);
    report_real(report, "client_busy", (double)meter->client_ns / wall);
    report_real(report, "per_second", (double)count * NS_PER_S / wall);
    report_real(report, "wall_s", wall / NS_PER_S);
}
