/**
 * The WebAssembly side of the fast crypto suite (lib/crypto/wasm.ts), in AssemblyScript: TypeScript's syntax with
 * machine types. `node --import tsx test/tools/build-wasm.ts` turns it into lib/crypto/wasm-bytes.ts.
 *
 * No imports, no allocator, no garbage: every function works on fixed places in the module's memory, which the caller
 * fills and reads. Keys, keystream and intermediate values are erased before a function returns; what the engine keeps
 * in registers and on its stack is out of reach.
 */
export { open, seal } from './aead';
export { blake2s, DIGEST, hmac, MAC_KEY } from './blake2s';
export { hchacha, KEY, NONCE } from './chacha';
export { POINT, RESULT, SCALAR, x25519 } from './x25519';

/** From here on the memory is the caller's. */
export const FREE: usize = __heap_base;
