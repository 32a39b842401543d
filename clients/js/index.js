/* index.js - what the package offers. API.md explains it, index.d.ts has the types. */
export { Client, connect } from './lib/client.js';
export { LongwireError } from './lib/errors.js';
