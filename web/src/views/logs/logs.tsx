import { Empty } from '../../parts/Empty';

export default function Logs() {
  return <Empty title="Logs" />;
}
