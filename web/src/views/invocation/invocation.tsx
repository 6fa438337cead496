import { Empty } from '../../parts/Empty';

export default function InvocationView() {
  return <Empty title="Invocation" />;
}
