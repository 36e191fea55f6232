/**
 * Private members made ordinary ones, in the text of a module, for XS alone: `#name` becomes `_name`. There every instance
 * has a slot of 16 bytes for each private method of its class and one for each class of its chain that has private
 * fields, and each use of a private field is two searches. Types have kept everybody else away from them already. A module
 * with a comment that begins with `PRIVATE:` is left as it is: what it hides must not be found by listing properties.
 */

const STAYS_PRIVATE = /^\s*\/\/ PRIVATE: /m;

/** Words that may stand between the beginning of a member and its name. */
const MODIFIERS = '(?:(?:static|readonly|async|get|set|override)\\s+|\\*)*';
/** Where a member begins: in a line of its own, or in a class of one line. A line of a comment begins otherwise. */
const definition = (sign: string, end: string) =>
  new RegExp(`(?<=(?:^[ \\t]*|[{};][ \\t]*)${MODIFIERS})${sign}(\\w+)(?=\\s*${end})`, 'gm');
const DEFINITION = definition('#', '[=;:(<!?}\\n]');
/** A parameter in a line of its own is none. */
const ORDINARY_DEFINITION = definition('_', '(?:[=;(<!?}]|:.*;)');
const USE = /(?<=\.)#(\w+)/g;
const ORDINARY_USE = /(?<=\.)_(\w+)/g;
/** `#name in object`: whether it is one of the class. */
const CHECK = /(?<![.\w'"`])#(\w+)(?= in\b)/g;
const CLASS = /\bclass (\w+)(?:<[^{]*?>)? extends (\w+)/g;

/** Names of the private members that a module defines. */
export function privateMembers(text: string): Set<string> {
  return STAYS_PRIVATE.test(text) ? new Set() : namesOf(text, DEFINITION);
}

/** The same module with ordinary members. */
export function publicMembers(text: string): string {
  if (STAYS_PRIVATE.test(text)) return text;
  return text.replaceAll(DEFINITION, '_$1').replaceAll(USE, '_$1').replaceAll(CHECK, "'_$1'");
}

/**
 * Throws Error where an ordinary member would hide another one: a class and one that it extends have private members of
 * the same name, or some member is named `_name` already. `modules` are all texts, by name.
 */
export function checkPublicMembers(modules: ReadonlyMap<string, string>): void {
  const names = new Set([...modules.values()].flatMap(text => [...privateMembers(text)]));
  const homes = new Map<string, string>();
  for (const [name, text] of modules) for (const found of text.matchAll(/\bclass (\w+)/g)) homes.set(found[1]!, name);
  const bases = new Map<string, string>();
  for (const text of modules.values())
    for (const [, derived = '', base = ''] of text.matchAll(CLASS)) if (homes.has(base)) bases.set(derived, base);
  const membersOf = (name: string) => membersOfClass(modules.get(homes.get(name)!)!, name);
  for (const derived of bases.keys()) {
    const own = membersOf(derived);
    for (let base = bases.get(derived); base !== undefined; base = bases.get(base)) {
      const inherited = membersOf(base);
      const both = [...own].find(member => inherited.has(member));
      if (both !== undefined)
        throw new Error(`${homes.get(derived)}: ${derived} and ${base} both have a private member #${both}`);
    }
  }
  for (const [name, text] of modules) {
    const ordinary = [...namesOf(text, ORDINARY_DEFINITION), ...namesOf(text, ORDINARY_USE)];
    const taken = ordinary.find(member => names.has(member));
    if (taken !== undefined) throw new Error(`${name}: there is a _${taken} beside a private member #${taken}`);
  }
}

function namesOf(text: string, pattern: RegExp): Set<string> {
  return new Set([...text.matchAll(pattern)].map(found => found[1]!));
}

/** Members from the head of a class to the next class of the module. */
function membersOfClass(text: string, name: string): Set<string> {
  const start = text.search(new RegExp(`\\bclass ${name}\\b`));
  const next = text.slice(start + 1).search(/^(?:export )?(?:default )?(?:abstract )?class \w/m);
  return privateMembers(next < 0 ? text.slice(start) : text.slice(start, start + 1 + next));
}
