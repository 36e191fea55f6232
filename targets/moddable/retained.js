/**
 * Memory that survives deep sleep, for `retainedStore` in retained-store.ts: `read` fills an array from it, `write` replaces its
 * beginning. Loaded by name (`Modules.importNow`), which gives the default export.
 */
export default Object.freeze({
  read: native('xs_motenet_retained_read'),
  write: native('xs_motenet_retained_write'),
});
