import { Empty } from '../../parts/Empty';

export default function TraceView() {
  return <Empty title="Trace" />;
}
