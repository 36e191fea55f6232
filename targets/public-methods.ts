/**
 * Private methods made ordinary ones, in the text of a module, for XS alone: there every instance has a slot of 16 bytes
 * for each private method of its class (the language defines them per instance), an ordinary method is in the prototype
 * once. Private fields stay private. `#name(…)` becomes `_name(…)`.
 */

/** `#name(` or `get #name(` where nothing is called, which is a definition. */
const DEFINITION = /(?<![.\w])#(\w+)(?:<[^<>()]*>)?\(/g;
const CLASS = /\bclass (\w+)(?:<[^{]*?>)? extends (\w+)/g;

/** Names of the private methods that a module defines. */
export function privateMethods(text: string): Set<string> {
  return new Set([...text.matchAll(DEFINITION)].map(found => found[1]!));
}

/** The same module with ordinary methods. */
export function publicMethods(text: string): string {
  const names = privateMethods(text);
  if (names.size === 0) return text;
  return text.replaceAll(new RegExp(`#(${[...names].join('|')})\\b`, 'g'), '_$1');
}

/**
 * Throws Error where an ordinary method would hide another one: a class and the class that it extends have private
 * methods of the same name. `modules` are all texts, by name.
 */
export function checkPublicMethods(modules: ReadonlyMap<string, string>): void {
  const homes = new Map<string, string>();
  for (const [name, text] of modules) for (const found of text.matchAll(/\bclass (\w+)/g)) homes.set(found[1]!, name);
  for (const [name, text] of modules) {
    for (const [, derived = '', base = ''] of text.matchAll(CLASS)) {
      const home = homes.get(base);
      if (home === undefined) continue;
      const [own, inherited] = [methodsOfClass(text, derived), methodsOfClass(modules.get(home)!, base)];
      const both = [...own].find(method => inherited.has(method));
      if (both !== undefined) throw new Error(`${name}: ${derived} and ${base} both have a private method #${both}`);
    }
  }
}

/** Methods from the head of a class to the next class of the module. */
function methodsOfClass(text: string, name: string): Set<string> {
  const start = text.search(new RegExp(`\\bclass ${name}\\b`));
  const next = text.slice(start + 1).search(/^(?:export )?(?:default )?(?:abstract )?class \w/m);
  return privateMethods(next < 0 ? text.slice(start) : text.slice(start, start + 1 + next));
}
