{"event_id":"evt_1","type":"session.created","session":{"id":"s1","object":"realtime.tts.session","modalities":["text","audio"],"model":"hexgrad/Kokoro-82M","voice":"tara"}}
{"type":"conversation.item.input_text.received","text":"{\"usage\":{\"prompt_tokens\":999999999}}"}
{"type":"conversation.item.audio_output.delta","item_id":"tts_1","delta":"UklGRgUklGRg"}
{"type":"conversation.item.audio_output.done","item_id":"tts_1"}
