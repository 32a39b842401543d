/* start.js - a server of its own for an example, and the example's application. See ../start.
 *
 * LW_BUILD           where the server is; build
 * EXAMPLE_DATA       where its data are; data/examples/NAME
 * EXAMPLE_PORT       of the page; the next one is the server's, and the one behind it the back end's. 8090 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';

const [name] = process.argv.slice(2);
const port = Number(process.env.EXAMPLE_PORT ?? 8090);
const data = process.env.EXAMPLE_DATA ?? `data/examples/${name}`;
const server = `http://127.0.0.1:${port + 1}`;
const config = `${data}/longwired.conf`;

mkdirSync(data, { recursive: true });
/* The port behind the server's is the back end's, where the example has one. */
if (existsSync(`examples/${name}/longwired.conf`))
    writeFileSync(config, readFileSync(`examples/${name}/longwired.conf`, 'utf8').replaceAll(':8092', `:${port + 2}`), { mode: 0o600 });
const longwired = spawn(`${process.env.LW_BUILD ?? 'build'}/longwired`,
    ['--http', `127.0.0.1:${port + 1}`, '--tcp', '', '--data', data, ...(existsSync(config) ? ['--config', config] : [])],
    { stdio: ['ignore', 'ignore', 'inherit'], detached: true });   // a terminal's Ctrl-C comes here alone: a second signal would stop it at once
longwired.on('exit', code => process.exit(code ?? 1));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => longwired.kill('SIGTERM'));
process.on('exit', () => longwired.kill('SIGTERM'));
process.on('uncaughtException', error => {
    console.error('examples/start:', error.code === 'EADDRINUSE' ? `port ${error.port} is in use; EXAMPLE_PORT=PORT chooses another` : error);
    process.exit(1);
});

while (!await fetch(`${server}/healthz`).then(answer => answer.ok, () => false)) await sleep(50);
const { start } = await import(`../${name}/app.js`);
await start({ server, port });
console.log(`open http://127.0.0.1:${port}/   (the server is ${server})`);
