import { Empty } from '../../parts/Empty';

export default function Errors() {
  return <Empty title="Errors" />;
}
