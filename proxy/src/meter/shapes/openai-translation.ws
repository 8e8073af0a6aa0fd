{"type":"session.created","event_id":"event_1","session":{"id":"sess_1","type":"translation","model":"gpt-realtime-translate","audio":{"output":{"language":"fr"}}}}
{"type":"session.input_transcript.delta","event_id":"event_2","delta":"{\"usage\":{\"input_tokens\":999999999}}","elapsed_ms":200}
{"type":"session.output_audio.delta","event_id":"event_3","delta":"UklGRgUklGRgUklGRg","channels":1,"elapsed_ms":200,"format":"pcm16","sample_rate":24000}
{"type":"session.closed","event_id":"event_4"}
