// A schema as inputs. The value is one JSON tree; what is left empty and may be left out is left out.
import { useSignal } from '@preact/signals';
import { useEffect, useId } from 'preact/hooks';
import { plain } from '../../lib/plain';
import { Text } from '../../parts/Text';
import { escapePointer, initial, resolve, said, widgetOf, type Schema, type Wrong } from './schema';

interface FieldProps {
  schema: Schema | boolean | undefined;
  root: Schema;
  name: string;
  pointer: string;
  required: boolean;
  /** undefined: it is left out. */
  value: unknown;
  onChange: (value: unknown) => void;
  wrong: Wrong[];
}

/** The fields of an object; of the whole input, too. */
export function ObjectFields({ schema: given, root, pointer, value, onChange, wrong }: Omit<FieldProps, 'name' | 'required'>) {
  const schema = resolve(given, root);
  const object = (typeof value === 'object' && value !== null && !Array.isArray(value) ? value : {}) as Record<string, unknown>;
  const properties = Object.entries(schema.properties ?? {});
  const unnamed = Object.keys(object).filter((name) => !schema.properties?.[name]);
  return (
    <>
      {properties.map(([name, property]) => (
        <Field
          key={name} schema={property} root={root} name={name} pointer={`${pointer}/${escapePointer(name)}`} required={schema.required?.includes(name) ?? false}
          value={object[name]} wrong={wrong}
          onChange={(next) => {
            const { [name]: _, ...rest } = object;
            // The order of the schema, so that the JSON does not jump while one types.
            const merged: Record<string, unknown> = next === undefined ? rest : { ...rest, [name]: next };
            onChange(Object.fromEntries([...properties.map(([key]) => key), ...unnamed].filter((key) => key in merged).map((key) => [key, merged[key]])));
          }}
        />
      ))}
      {unnamed.length > 0 && <p class="field-about">Also sent, not in the schema: {unnamed.map((name) => <code key={name}>{name} </code>)}. See the JSON.</p>}
    </>
  );
}

function Field(props: FieldProps) {
  const { root, name, pointer, required, value, onChange, wrong } = props;
  const schema = resolve(props.schema, root);
  const id = useId();
  const widget = widgetOf(schema);
  const mine = wrong.filter((one) => one.pointer === pointer);
  const nested = widget === 'object' || widget === 'array';
  const common = {
    id, 'aria-invalid': mine.length > 0 ? ('true' as const) : undefined, 'aria-required': required || undefined,
    'aria-describedby': `${id}-about`,
  };
  const head = (
    <span class="field-label">
      <span class="field-name">{name}</span>
      {required ? <span class="field-type">required</span> : null}
      <span class="field-type">{said(schema)}</span>
      {nested && !required && (
        <button type="button" class="button button-small" onClick={() => onChange(value === undefined ? initial(schema, root) : undefined)}>{value === undefined ? 'Add' : 'Leave out'}</button>
      )}
    </span>
  );
  const foot = (
    <span id={`${id}-about`}>
      {schema.description && <span class="field-about">{plain(schema.description)}</span>}
      {mine.map((one) => <span key={one.message} class="field-wrong" role="alert"><span aria-hidden="true">✕ </span><Text of={one.message} /></span>)}
    </span>
  );
  if (nested) {
    return (
      <fieldset class="field">
        <legend class="off-screen">{name}</legend>
        {head}
        {foot}
        {value !== undefined && (
          <div class="field-nest">
            {widget === 'object'
              ? <ObjectFields schema={schema} root={root} pointer={pointer} value={value} onChange={onChange} wrong={wrong} />
              : <Items schema={schema} root={root} name={name} pointer={pointer} value={value} onChange={onChange} wrong={wrong} />}
          </div>
        )}
      </fieldset>
    );
  }
  return (
    <div class="field">
      <label for={id}>{head}</label>
      <Input {...{ schema, widget, common, required, value, onChange }} />
      {foot}
    </div>
  );
}

function Input({ schema, widget, common, required, value, onChange }: { schema: Schema; widget: string; common: Record<string, unknown>; required: boolean; value: unknown; onChange: (value: unknown) => void }) {
  const hint = schema.examples?.[0] !== undefined ? `as ${JSON.stringify(schema.examples[0])}` : required ? undefined : 'left out';
  const text = (typed: string) => onChange(typed === '' && !required ? undefined : typed);
  switch (widget) {
    case 'choice': {
      const choices = schema.enum ?? [];
      return (
        <select {...common} value={value === undefined ? '' : JSON.stringify(value)} onChange={(event) => onChange(event.currentTarget.value === '' ? undefined : JSON.parse(event.currentTarget.value))}>
          <option value="">{required ? 'choose…' : 'left out'}</option>
          {value !== undefined && !choices.some((one) => JSON.stringify(one) === JSON.stringify(value)) && <option value={JSON.stringify(value)}>{String(value)} (not allowed)</option>}
          {choices.map((one) => <option key={JSON.stringify(one)} value={JSON.stringify(one)}>{String(one)}</option>)}
        </select>
      );
    }
    case 'boolean':
      return (
        <select {...common} value={value === undefined ? '' : String(value)} onChange={(event) => onChange(event.currentTarget.value === '' ? undefined : event.currentTarget.value === 'true')}>
          <option value="">{required ? 'choose…' : 'left out'}</option>
          <option value="true">true</option>
          <option value="false">false</option>
        </select>
      );
    case 'number': case 'integer':
      return <NumberInput common={common} value={value} onChange={onChange} placeholder={hint} />;
    case 'secret':
      return <input {...common} type="password" autocomplete="off" placeholder={hint} value={typeof value === 'string' ? value : ''} onInput={(event) => text(event.currentTarget.value)} />;
    case 'text':
      return <input {...common} placeholder={hint} value={shown(value)} onInput={(event) => text(event.currentTarget.value)} />;
    case 'longtext':
      return <textarea {...common} rows={shown(value).includes('\n') || shown(value).length > 80 ? 4 : 1} placeholder={hint} value={shown(value)} onInput={(event) => text(event.currentTarget.value)} />;
    default:
      return <JsonInput common={common} value={value} onChange={onChange} />;
  }
}

const shown = (value: unknown): string => (value === undefined ? '' : typeof value === 'string' ? value : JSON.stringify(value));

/** What is no number is kept as the text it is: it is shown as a mistake, not swallowed. */
function NumberInput({ common, value, onChange, placeholder }: { common: Record<string, unknown>; value: unknown; onChange: (value: unknown) => void; placeholder: string | undefined }) {
  const typed = useSignal(shown(value));
  useEffect(() => {
    if (read(typed.value) !== value) typed.value = shown(value);
  }, [value]);
  const read = (text: string): unknown => (text.trim() === '' ? undefined : /^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$/.test(text.trim()) ? Number(text) : text);
  return (
    <input
      {...common} inputMode="decimal" autocomplete="off" placeholder={placeholder} value={typed.value}
      onInput={(event) => {
        typed.value = event.currentTarget.value;
        onChange(read(typed.value));
      }}
    />
  );
}

export function JsonInput({ common, value, onChange, rows = 3, onBroken }: { common: Record<string, unknown>; value: unknown; onChange: (value: unknown) => void; rows?: number; onBroken?: (message: string | null) => void }) {
  const typed = useSignal(value === undefined ? '' : JSON.stringify(value, null, 2));
  const broken = useSignal<string | null>(null);
  useEffect(() => {
    // Somebody else changed it: an example, or the form.
    if (!broken.value && JSON.stringify(read(typed.value).value) !== JSON.stringify(value)) typed.value = value === undefined ? '' : JSON.stringify(value, null, 2);
  }, [value]);
  const read = (text: string): { value?: unknown; broken: string | null } => {
    if (text.trim() === '') return { value: undefined, broken: null };
    try {
      return { value: JSON.parse(text) as unknown, broken: null };
    } catch (error) {
      return { broken: error instanceof Error ? error.message : 'is not JSON' };
    }
  };
  return (
    <>
      <textarea
        {...common} rows={rows} spellcheck={false} value={typed.value} aria-invalid={broken.value ? 'true' : (common['aria-invalid'] as 'true' | undefined)}
        onInput={(event) => {
          typed.value = event.currentTarget.value;
          const result = read(typed.value);
          broken.value = result.broken;
          onBroken?.(result.broken);
          if (!result.broken) onChange(result.value);
        }}
      />
      {broken.value && <span class="field-wrong" role="alert"><span aria-hidden="true">✕ </span>{broken.value}</span>}
    </>
  );
}

function Items({ schema, root, name, pointer, value, onChange, wrong }: Omit<FieldProps, 'required' | 'schema'> & { schema: Schema }) {
  const items = Array.isArray(value) ? (value as unknown[]) : [];
  return (
    <>
      {items.map((item, index) => (
        // Items have no names of their own.
        <div key={index} class="field-item">
          <Field
            schema={schema.items} root={root} name={`${name} ${index + 1}`} pointer={`${pointer}/${index}`} required wrong={wrong} value={item}
            onChange={(next) => onChange(items.map((one, at) => (at === index ? (next === undefined ? null : next) : one)))}
          />
          <button type="button" class="button button-small" aria-label={`Remove ${name} ${index + 1}`} onClick={() => onChange(items.filter((_, at) => at !== index))}>✕</button>
        </div>
      ))}
      <p><button type="button" class="button button-small" onClick={() => onChange([...items, initial(schema.items, root) ?? null])}>Add to {name}</button></p>
    </>
  );
}
