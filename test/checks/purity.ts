/**
 * Rule: lib names nothing that a bare ECMAScript engine lacks or that makes a machine depend on anything but its
 * inputs, and keeps no state in modules (they are frozen into flash on a microcontroller).
 */
import { type Node, SyntaxKind } from 'typescript/unstable/ast';
import {
  isBindingElement,
  isCallExpression,
  isIdentifier,
  isNewExpression,
  isPropertyAccessExpression,
  isQualifiedName,
} from 'typescript/unstable/ast/is';
import { type Finding, findingAt, type Source, walk } from './source.ts';

/** Files that may use what others may not. */
const MOTE = /^lib\/mote\//;
const PROMISES = /^lib\/(mote\/|driver\.ts$|ports\.ts$)/;
const WASM = /^lib\/crypto\/wasm\.ts$/;
const NOWHERE = /^$/;

/** Forbidden global names, and where they are allowed nevertheless. */
const FORBIDDEN: { readonly [name: string]: RegExp } = Object.fromEntries([
  ...words(NOWHERE, 'Date performance Temporal Intl setTimeout clearTimeout setInterval clearInterval setImmediate'),
  ...words(
    NOWHERE,
    'process Buffer console require module exports __dirname __filename Deno Bun navigator window self',
  ),
  ...words(NOWHERE, 'TextEncoder TextDecoder structuredClone queueMicrotask atob btoa crypto eval Function'),
  ...words(NOWHERE, 'SharedArrayBuffer Atomics WeakRef FinalizationRegistry'),
  ...words(MOTE, 'fetch Request Response Headers URL URLSearchParams ReadableStream WritableStream TransformStream'),
  ...words(MOTE, 'AbortController AbortSignal Event EventTarget FormData Blob'),
  ...words(PROMISES, 'Promise'),
  ...words(WASM, 'WebAssembly'),
  ...words(/^lib\/(mote\/|crypto\/wasm\.ts$)/, 'globalThis'),
]);

function words(allowedIn: RegExp, names: string): [string, RegExp][] {
  return names.split(' ').map(name => [name, allowedIn]);
}

/** Words that are also good names for a variable: where a file declares them, they are its own. */
const ORDINARY_WORDS = new Set('window self module exports crypto fetch navigator performance process'.split(' '));

/** Constructors whose instances cannot be frozen. */
const UNFREEZABLE =
  /^(Uint8|Uint8Clamped|Int8|Uint16|Int16|Uint32|Int32|Float32|Float64|BigInt64|BigUint64)Array$|^(ArrayBuffer|DataView|Map|Set|WeakMap|WeakSet|Slot|DropCounters)$/;

/** Uses of forbidden names, of `Math.random`, of async code outside its places, and of BigInt outside crypto. */
export function forbiddenNameFindings(sources: readonly Source[]): Finding[] {
  const findings: Finding[] = [];
  for (const source of sources) {
    const own = ownNames(source);
    walk(source.tree, (node, parent) => {
      const problem = nameProblem(source.path, node, parent, own) ?? syntaxProblem(source.path, node);
      if (problem !== undefined) findings.push(findingAt(source, node, problem));
    });
  }
  return findings;
}

/** Ordinary words that the file declares as variables or parameters (ambient ones do not count). */
function ownNames(source: Source): Set<string> {
  const names = new Set<string>();
  walk(source.tree, node => {
    const { modifiers, name } = node as { modifiers?: readonly Node[]; name?: Node };
    if (modifiers?.some(modifier => modifier.kind === SyntaxKind.DeclareKeyword)) return false;
    const declares = [SyntaxKind.VariableDeclaration, SyntaxKind.Parameter, SyntaxKind.BindingElement].includes(
      node.kind,
    );
    if (declares && name !== undefined && isIdentifier(name) && ORDINARY_WORDS.has(name.text)) names.add(name.text);
    return true;
  });
  return names;
}

function nameProblem(path: string, node: Node, parent: Node, own: ReadonlySet<string>): string | undefined {
  if (!isIdentifier(node) || isPropertyName(node, parent) || own.has(node.text)) return undefined;
  const allowed = FORBIDDEN[node.text];
  if (Object.hasOwn(FORBIDDEN, node.text) && !allowed!.test(path)) return `${node.text} is not allowed here`;
  const isMath = node.text === 'Math' && isPropertyAccessExpression(parent);
  return isMath && parent.name.text === 'random' ? 'Math.random is not allowed here' : undefined;
}

/** Whether the identifier only names a member (`x.Date`, `{ Date: 1 }`, a method, a type's property). */
function isPropertyName(node: Node, parent: Node): boolean {
  if (isPropertyAccessExpression(parent)) return parent.name === node;
  if (isQualifiedName(parent)) return parent.right === node;
  if (isBindingElement(parent)) return parent.propertyName === node;
  const members = [
    SyntaxKind.PropertyAssignment,
    SyntaxKind.PropertySignature,
    SyntaxKind.PropertyDeclaration,
    SyntaxKind.MethodDeclaration,
    SyntaxKind.MethodSignature,
    SyntaxKind.GetAccessor,
    SyntaxKind.SetAccessor,
  ];
  return members.includes(parent.kind) && (parent as { name?: Node }).name === node;
}

function syntaxProblem(path: string, node: Node): string | undefined {
  const isAsync = node.kind === SyntaxKind.AsyncKeyword || node.kind === SyntaxKind.AwaitExpression;
  if (isAsync && !PROMISES.test(path)) return 'async code belongs in lib/mote, lib/driver.ts or targets';
  const isBig =
    node.kind === SyntaxKind.BigIntLiteral || (isIdentifier(node) && /^Big(Int|Int64Array)$/.test(node.text));
  return isBig && !path.startsWith('lib/crypto/') ? 'BigInt belongs in functions of lib/crypto' : undefined;
}

/** What may stand at module level: nothing that runs. */
const DECLARATIONS = new Set([
  SyntaxKind.ImportDeclaration,
  SyntaxKind.ExportDeclaration,
  SyntaxKind.VariableStatement,
  SyntaxKind.FunctionDeclaration,
  SyntaxKind.ClassDeclaration,
  SyntaxKind.InterfaceDeclaration,
  SyntaxKind.TypeAliasDeclaration,
]);

const FUNCTIONS = new Set([
  SyntaxKind.FunctionDeclaration,
  SyntaxKind.FunctionExpression,
  SyntaxKind.ArrowFunction,
  SyntaxKind.MethodDeclaration,
  SyntaxKind.Constructor,
  SyntaxKind.GetAccessor,
  SyntaxKind.SetAccessor,
]);

/** State and work at module level: `let`, `var`, scratch memory, BigInt, bare statements. */
export function moduleStateFindings(sources: readonly Source[]): Finding[] {
  const findings: Finding[] = [];
  for (const source of sources) {
    for (const statement of source.tree.statements) {
      if (!DECLARATIONS.has(statement.kind))
        findings.push(findingAt(source, statement, 'a statement that runs when the module loads'));
    }
    walk(source.tree, (node, parent) => {
      if (FUNCTIONS.has(node.kind) || isInstanceField(node)) return false;
      const problem = stateProblem(source, node, parent);
      if (problem !== undefined) findings.push(findingAt(source, node, problem));
    });
  }
  return findings;
}

/**
 * Regular expressions at module level. XS 17.9 runs one that lies in flash with memory that it never gives back, and
 * that it takes for a chunk when it collects: it crashes (`fxAllocateRegExpData` of Moddable 8.2.3).
 */
export function moduleRegExpFindings(sources: readonly Source[]): Finding[] {
  const findings: Finding[] = [];
  for (const source of sources)
    walk(source.tree, node => {
      if (FUNCTIONS.has(node.kind) || isInstanceField(node)) return false;
      const isMade = isNewExpression(node) && isIdentifier(node.expression) && node.expression.text === 'RegExp';
      if (isMade || node.kind === SyntaxKind.RegularExpressionLiteral)
        findings.push(findingAt(source, node, 'module-level RegExp: XS crashes on one that lies in flash'));
    });
  return findings;
}

function isInstanceField(node: Node): boolean {
  if (node.kind !== SyntaxKind.PropertyDeclaration) return false;
  const { modifiers } = node as { modifiers?: readonly Node[] };
  return !modifiers?.some(modifier => modifier.kind === SyntaxKind.StaticKeyword);
}

function stateProblem(source: Source, node: Node, parent: Node): string | undefined {
  if (node.kind === SyntaxKind.VariableDeclarationList) {
    const keyword = source.text.slice(node.getStart(source.tree)).match(/^\w+/)![0];
    if (keyword !== 'const') return `module-level ${keyword}`;
  }
  if (node.kind === SyntaxKind.ClassStaticBlockDeclaration) return 'a static block runs when the module loads';
  if (node.kind === SyntaxKind.BigIntLiteral && parent.kind !== SyntaxKind.LiteralType) return 'module-level BigInt';
  if (isCallExpression(node) && isIdentifier(node.expression) && node.expression.text === 'BigInt')
    return 'module-level BigInt';
  if (!isNewExpression(node) || !isIdentifier(node.expression) || !UNFREEZABLE.test(node.expression.text))
    return undefined;
  if (parent.kind === SyntaxKind.ElementAccessExpression) return undefined; // read at once, not kept
  const isTable =
    node.arguments?.[0]?.kind === SyntaxKind.ArrayLiteralExpression && node.expression.text.endsWith('Array');
  const isEmpty = /^\w+\(0\)$/.test(source.text.slice(node.expression.getStart(source.tree), node.end));
  return isTable || isEmpty ? undefined : `module-level new ${node.expression.text}: put it in an instance`;
}
