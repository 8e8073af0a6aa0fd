{"type":"session.created","session":{"request_id":"r1","model":"voxtral-mini"}}
{"type":"transcription.text.delta","text":"usage"}
{"type":"transcription.done","model":"voxtral-mini","text":"usage","language":null,"segments":[],"usage":{"prompt_audio_seconds":4,"prompt_tokens":5,"total_tokens":38,"completion_tokens":33}}
