/** The native functions in Node: crypto.js as a board loads it, over the addon. */
import type { NativeCrypto } from '../../targets/moddable/native-suite.ts';

interface Host {
  native?: ((name: string) => unknown) | undefined;
}

/** Loads the addon and, with its functions, `targets/moddable/native/crypto.js`. */
export async function loadNative(path: string): Promise<NativeCrypto> {
  const module = { exports: {} as { readonly [name: string]: unknown } };
  process.dlopen(module, path);
  const host = globalThis as Host;
  host.native = name => {
    const found = module.exports[name];
    if (typeof found !== 'function') throw new Error(`crypto.js asks for ${name}, which crypto-xs.h does not list`);
    return found;
  };
  try {
    return await import('../../targets/moddable/native/crypto.js');
  } finally {
    delete host.native;
  }
}
