import { Empty } from '../../parts/Empty';

export default function Api() {
  return <Empty title="API" />;
}
